"""The page itself: a template, its styles and scripts inlined, a policy that forbids every request, data as JSON."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jinja2
from markupsafe import Markup

from agent_pipeline.amounts import dollars, moment, seconds_text
from agent_pipeline.report.comparison import FILES, Comparison, read_text
from agent_pipeline.report.documents import MOST_ID, Documents, Writer
from agent_pipeline.report.facts import RunFacts
from agent_pipeline.report.shares import quantile, share
from agent_pipeline.report.stage_figures import StageFigures
from agent_pipeline.report.texts import Texts
from agent_pipeline.report.timeline import Timeline
from agent_pipeline.report.verdicts import Verdicts

_FOLDER = Path(__file__).with_name("page")
_LONGEST = 1_000

_HEADLINES = {"completed": "Completed", "incomplete": "Stopped early", "failed": "Failed"}
_TONES = {"completed": "good", "incomplete": "fair", "failed": "bad"}


@dataclass(slots=True)
class Page:
    """What the template shows.

    Attributes:
        reason_in_words: says in words why a run ended early.
        timeline: the charts' series.
        other: the run it is compared with, None for a page about one.
    """

    facts: RunFacts
    texts: Texts
    reason_in_words: Callable[[str], str]
    documents: Documents
    timeline: Timeline
    verdicts: Verdicts
    other: RunFacts | None = None
    comparison: Comparison | None = None

    @property
    def headline(self) -> str:
        """How the run ended, in two or three words."""
        if self.facts.state == "running":
            return "Still running"
        if self.facts.state == "killed":
            return "Killed"
        ended = _HEADLINES.get(self.facts.run.outcome or "", "Ended")
        return f"{ended}, with failures" if ended == "Completed" and self.facts.outcomes["failed"] else ended

    @property
    def tone(self) -> str:
        """Whether that is `good`, `fair` or `bad`."""
        if not self.facts.has_ended or self.facts.outcomes["failed"]:
            return "bad" if self.facts.run.outcome == "failed" else "fair"
        return _TONES.get(self.facts.run.outcome or "", "fair")

    @property
    def reason(self) -> str:
        """Why it ended early, or what is to know about one that did not end."""
        if self.facts.state == "running":
            return (
                "A process works on this run. The page shows what was on record when it was made; make it again later."
            )
        if self.facts.state == "killed":
            return (
                "Its process ended without a word (killed, or the machine went down). The page shows what was on "
                f"record; `agent-pipeline resume {self.facts.run.run_id}` goes on with it."
            )
        reason = self.facts.run.reason
        words = "" if reason is None else self.reason_in_words(reason)
        return words and f"{words[0].upper()}{words[1:]}."

    @property
    def never_begun(self) -> int:
        """Entries of the source that the run did not come to, as far as it knew how many there are."""
        expected = self.facts.events.expected_documents
        unfinished = not self.facts.has_ended or self.facts.run.outcome != "completed"
        return max((expected or 0) - self.facts.outcomes.total(), 0) if unfinished else 0

    @property
    def quantiles(self) -> tuple[float | None, float | None]:
        """How long documents took, p50 and p95."""
        ordered = sorted(self.facts.durations)
        return quantile(ordered, 0.5), quantile(ordered, 0.95)

    @property
    def requests(self) -> Mapping[str, int]:
        """Sums over all roles."""
        roles = self.facts.roles
        return {
            "calls": sum(role.requests for role in roles),
            "attempts": sum(role.attempts for role in roles),
            "input": sum(role.usage.input_tokens for role in roles),
            "output": sum(role.usage.output_tokens for role in roles),
            "charged": sum(role.spent.tokens for role in roles),
            "unconfirmed": sum(role.spent.unknown_tokens for role in roles),
            "refused": sum(stage.refused for stage in self.facts.stages.values()),
            "failed": sum(stage.outcomes["failed"] for stage in self.facts.stages.values()),
        }

    @property
    def stages(self) -> list[StageFigures]:
        """Stages that did something, in their order."""
        return [stage for stage in self.facts.stages.values() if stage.passes or stage.attempts]

    @property
    def files(self) -> dict[str, Markup]:
        """The files it was configured by, as they were."""
        return {name: _preformatted(read_text(self.facts, name, self.texts)) for name in FILES}

    @property
    def left_out(self) -> list[str]:
        """What is not on this page, so that nobody takes a part for the whole."""
        total, rows, details = self.facts.outcomes.total(), self.documents.count, len(self.documents.stories)
        found = [*self.facts.missing]
        if rows < total:
            found.append(
                f"{total - rows:,} of {total:,} documents are not listed: shown are those in trouble first, then the "
                "slowest, then an even sample. Counts, charts and figures are of all."
            )
        if details < rows:
            found.append(f"{rows - details:,} of the listed documents come without their requests one by one.")
        return found


def render(page: Page, writer: Writer) -> str:
    """Return the page as HTML."""
    styles = [_part("uplot/uPlot.min.css"), _part("report.css")]
    scripts = [_part("uplot/uPlot.iife.min.js"), _part("charts.js"), _part("waterfall.js"), _part("documents.js")]
    return (
        _environment(page.texts)
        .get_template("report.html.j2")
        .render(
            page=page,
            facts=page.facts,
            policy=_policy(styles, scripts),
            styles=[Markup(style) for style in styles],  # noqa: S704 - our own files
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
            data=_data(page, writer),
            licence=Markup(_part("uplot/LICENSE")),  # noqa: S704 - as it came with uPlot
            made_at=datetime.now(UTC),
            made_by=version("agent-pipeline"),
        )
    )


@cache
def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(styles: list[str], scripts: list[str]) -> str:
    """Return a Content-Security-Policy: these very scripts and styles, and not one request."""

    def hashes(parts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(page: Page, writer: Writer) -> Markup:
    """Return what scripts read; the documents are compressed, since they are nearly all of it."""
    documents = {"columns": page.documents.columns, "stories": page.documents.stories}
    packed = gzip.compress(_json(documents).encode(), 9, mtime=0)
    lanes = [replace(lane, name=page.texts.line(lane.name, 60)) for lane in page.timeline.lanes]
    data = {
        "timeline": asdict(replace(page.timeline, lanes=lanes)),
        "documents": base64.b64encode(packed).decode(),
        "names": {
            "stages": writer.stages.all(page.texts),
            "codes": writer.codes.all(page.texts),
            "roles": writer.roles.all(page.texts),
            "models": writer.models.all(page.texts),
            "outcomes": writer.outcomes.all(page.texts),
        },
        "has_texts": page.documents.has_texts,
    }
    return Markup(_json(data))  # noqa: S704 - nothing in it can end the element


def _json(value: object) -> str:
    """Return ASCII that no HTML parser takes for a tag or a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _preformatted(text: str) -> Markup:
    """Return foreign lines, cleaned already, escaped and kept as lines."""
    return Markup("{}").format(text)


def _environment(texts: Texts) -> jinja2.Environment:
    def shown(value: object) -> object:
        """Clean all foreign text that the template shows, whoever forgot it before."""
        return texts.line(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=seconds_text,
        money=dollars,
        share=share,
        count=lambda value: f"{value:,}",
        moment=lambda value: f"{moment(value)} UTC",
        preformatted=_preformatted,
        id=lambda value: texts.line(value, MOST_ID),
    )
    return environment
