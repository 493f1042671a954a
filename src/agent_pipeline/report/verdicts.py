"""What reviewers said: verdicts counted, and the words about documents that are shown in detail."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_pipeline.report.texts import Texts
from agent_pipeline.telemetry import parse_json_object, read_lines

MOST_WORDS = 600
"""Characters of issues and of suggestions that are shown."""

MOST_PER_DOCUMENT = 5
MOST_OBJECTIONS = 25
"""Different objections that are listed beside the counts."""

MOST_DOCUMENTS = 8
"""Documents that are named for each of them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reviewer's word on one pass."""

    document_id: str
    stage: str
    cycle: int
    approved: bool
    issues: str
    suggestions: str


@dataclass(slots=True)
class Objection:
    """What reviewers said against documents, in the same words of each; the first documents are named."""

    stage: str
    issues: str
    suggestions: str
    count: int = 0
    documents: dict[str, None] = field(default_factory=dict)

    @property
    def more(self) -> int:
        """Times it was said that stand for no document named here."""
        return self.count - len(self.documents)


@dataclass(slots=True)
class Verdicts:
    """All verdicts of a run, the words of some.

    Attributes:
        by_cycle: how many approved and how many did not, by the cycle.
        of: those on documents that were asked for.
        against: objections in the order they first came; what comes when the list is full is only counted.
    """

    by_cycle: Counter[tuple[int, bool]] = field(default_factory=Counter)
    of: dict[str, list[Verdict]] = field(default_factory=dict)
    against: dict[tuple[str, str, str], Objection] = field(default_factory=dict)
    unreadable: int = 0

    def cycles(self) -> list[tuple[int, int, int]]:
        """Return for each cycle how many were approved and how many were not."""
        numbers = sorted({cycle for cycle, _ in self.by_cycle})
        return [(cycle, self.by_cycle[cycle, True], self.by_cycle[cycle, False]) for cycle in numbers]

    def objections(self) -> list[Objection]:
        """Return what was said most often first."""
        return sorted(self.against.values(), key=lambda one: -one.count)


def read_verdicts(reviews: Path, wanted: Collection[str], texts: Texts) -> Verdicts:
    """Read reviews.jsonl once; keep words only of `wanted` documents and of the first objections."""
    found = Verdicts()
    try:
        for line in read_lines(reviews, parse_json_object):
            verdict = None if line.value is None else _verdict(line.value, texts)
            if verdict is None:
                found.unreadable += 1
            else:
                _keep(found, verdict, wanted)
    except FileNotFoundError:
        return found  # a run without a reviewer
    except OSError:
        found.unreadable += 1
    return found


def _verdict(line: Mapping[str, object], texts: Texts) -> Verdict | None:
    document_id, stage, cycle, approved = (line.get(key) for key in ("document_id", "stage", "cycle", "approved"))
    if not isinstance(document_id, str) or not isinstance(cycle, int):
        return None
    words = (texts.line(str(line.get(key) or ""), MOST_WORDS) for key in ("issues", "suggestions"))
    return Verdict(document_id, str(stage), cycle, approved is True, *words)


def _keep(found: Verdicts, verdict: Verdict, wanted: Collection[str]) -> None:
    found.by_cycle[verdict.cycle, verdict.approved] += 1
    if verdict.document_id in wanted:
        known = found.of.setdefault(verdict.document_id, [])
        if len(known) < MOST_PER_DOCUMENT:
            known.append(verdict)
    if not verdict.approved:
        _object(found, verdict)


def _object(found: Verdicts, verdict: Verdict) -> None:
    words = (verdict.stage, verdict.issues, verdict.suggestions)
    if words not in found.against and len(found.against) == MOST_OBJECTIONS:
        return
    objection = found.against.setdefault(words, Objection(*words))
    objection.count += 1
    if len(objection.documents) < MOST_DOCUMENTS:
        objection.documents[verdict.document_id] = None
