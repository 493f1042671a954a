"""What a run left behind, read back as users and programs read it, and what has to hold for every run."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent_pipeline.runs.directory import find_run
from agent_pipeline.runs.verify import Report, verify_run
from agent_pipeline.telemetry import ParsedLine, parse_line

Row = dict[str, object]

FILES = {"config.yaml", "events.jsonl", "ledger.sqlite3", "manifest.json", "reviews.jsonl", "roles.yaml"}
"""In every run directory, beside `<name>.log` and, where there is need, `rejected/`."""


def rows(ledger: Path, query: str) -> list[Row]:
    """Return the rows of a query on a closed ledger."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro&immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def json_lines(path: Path) -> list[Row]:
    """Return the objects of a JSON Lines file, whose last line must be whole too."""
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n"), f"{path.name} ends in a torn line"
    values = [json.loads(line) for line in text.split("\n")[:-1]]
    assert all(isinstance(value, dict) for value in values)
    return values


@dataclass(frozen=True)
class Leavings:
    """A finished run's files."""

    path: Path

    @property
    def name(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def log_path(self) -> Path:
        """The run log."""
        return self.path / f"{self.name.split('-')[0]}.log"

    @property
    def traces_path(self) -> Path:
        """The Agents SDK's traces."""
        return self.path.parent / "openai_sdk" / "traces" / f"trace_dump-{self.name}.jsonl"

    @property
    def sdk_log_path(self) -> Path:
        """The Agents SDK's log."""
        return self.path.parent / "openai_sdk" / "logs" / f"openai_agents-{self.name}.log"

    @cached_property
    def log(self) -> list[ParsedLine]:
        """The run log."""
        return _log_lines(self.log_path)

    @cached_property
    def sdk_log(self) -> list[ParsedLine]:
        """The Agents SDK's log."""
        return _log_lines(self.sdk_log_path)

    @cached_property
    def events(self) -> list[Row]:
        """The typed events."""
        return json_lines(self.path / "events.jsonl")

    @cached_property
    def reviews(self) -> list[Row]:
        """The verdicts."""
        return json_lines(self.path / "reviews.jsonl")

    @cached_property
    def traces(self) -> list[Row]:
        """The traces and spans."""
        return json_lines(self.traces_path)

    @cached_property
    def manifest(self) -> Row:
        """The manifest."""
        value = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        assert isinstance(value, dict)
        return value

    @cached_property
    def run(self) -> Row:
        """The ledger's one run."""
        (row,) = self.table("run")
        return row

    @cached_property
    def documents(self) -> list[Row]:
        """The ledger's documents in source order."""
        return rows(self.path / "ledger.sqlite3", "SELECT * FROM documents ORDER BY position")

    @cached_property
    def attempts(self) -> list[Row]:
        """The ledger's attempts in the order they were started."""
        return rows(self.path / "ledger.sqlite3", "SELECT * FROM attempts ORDER BY started_at")

    def table(self, name: str) -> list[Row]:
        """Return all of a table of the ledger."""
        return rows(self.path / "ledger.sqlite3", f"SELECT * FROM {name}")  # noqa: S608 - a test's own words

    def named(self, event: str) -> list[ParsedLine]:
        """Return the run log's lines of one event."""
        return [line for line in self.log if line.event == event]

    def files(self) -> Iterable[Path]:
        """Yield every file of this run."""
        yield from (path for path in self.path.rglob("*") if path.is_file())
        yield from (self.traces_path, self.sdk_log_path)

    def fields_of(self, document_id: str, stage: str) -> dict[str, object]:
        """Return a document's fields after the last cycle of a stage."""
        outputs = [
            row for row in self.table("stage_results") if (row["document_id"], row["stage"]) == (document_id, stage)
        ]
        last = json.loads(str(max(outputs, key=lambda row: int(str(row["cycle"])))["output_json"]))
        fields = last["fields"]
        assert isinstance(fields, dict)
        return fields


def _log_lines(path: Path) -> list[ParsedLine]:
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n"), f"{path.name} ends in a torn line"
    return [parse_line(line) for line in text.split("\n")[:-1]]


def assert_verified(path: Path) -> Report:
    """Assert that checking a run finds nothing, and return what it noted."""
    report = verify_run(find_run(str(path), path.parent))
    assert report.differences == (), "\n".join(map(repr, report.differences[:20]))
    return report


def assert_complete(left: Leavings) -> None:
    """Assert what holds of every run, however it ended: all files are whole and tell the same story."""
    assert_verified(left.path)
    assert {path.name for path in left.path.iterdir()} - {"rejected", "tasks"} == FILES | {left.log_path.name}
    assert not list(left.path.parent.rglob(".*")), "something temporary was left"
    assert left.sdk_log is not None
    assert rows(left.path / "ledger.sqlite3", "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert left.run["ended_at"] is not None
    assert left.run["outcome"] in {"completed", "incomplete", "failed"}
    assert all(document["outcome"] is not None for document in left.documents)
    killed = {one["session"] for one in left.table("sessions") if one["reason"] == "killed"}  # what it said may be lost
    ends = [(line.fields["doc"], line.fields["outcome"]) for line in left.named("DOCUMENT_FINISHED")]
    told = [one for one in left.documents if one["session"] not in killed]
    assert {str(one["document_id"]): str(one["outcome"]) for one in told}.items() <= dict(ends).items()
    assert len(left.table("sessions")) > 1 or len(ends) == len(left.documents)
    assert killed or len(left.events) == len(left.log)
    sent = {line.fields["attempt_id"] for line in left.named("ATTEMPT") if "sent" not in line.fields}
    assert killed or sent <= {attempt["attempt_id"] for attempt in left.attempts}
    assert {one["attempt_id"] for one in left.attempts if one["session"] not in killed} <= sent
    for document in left.documents:
        artifact = document["artifact_path"]
        assert (document["outcome"] == "succeeded") == (artifact is not None)
        assert artifact is None or Path(str(artifact)).is_file()
    traces = {item["id"] for item in left.traces if item["object"] == "trace"}
    assert {item["trace_id"] for item in left.traces if item["object"] == "trace.span"} <= traces
