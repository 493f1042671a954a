"""Two runs side by side: figures, stages, documents that ended otherwise, and what differs in their files."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

from agent_pipeline.ledger import DocumentRow, LedgerReader
from agent_pipeline.report import amounts
from agent_pipeline.report.facts import RunFacts
from agent_pipeline.report.texts import Texts

MOST_DOCUMENTS = 200
MOST_DIFF_LINES = 300
FILES = ("config.yaml", "roles.yaml")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both runs, as shown; `change` is by how much, `stage` what it is of."""

    name: str
    first: str
    second: str
    change: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that ended otherwise in the other run, or is in one of them only."""

    document_id: str
    first: str
    second: str
    what: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs.

    Attributes:
        same: documents with the same ending and the same artifact.
        differing: all others; `differences` has the first of them.
        diffs: by file, the lines of a unified diff; empty where the files are the same.
    """

    figures: tuple[Figure, ...]
    stages: tuple[Figure, ...]
    same: int
    differing: int
    differences: tuple[Difference, ...]
    diffs: dict[str, tuple[str, ...]]


_Ending = tuple[str, str | None, str | None]
"""Outcome, error code, hash of the artifact."""


def compare(
    first: RunFacts, second: RunFacts, ledgers: tuple[LedgerReader, LedgerReader], texts: Texts
) -> Comparison:
    """Compare two runs; documents are the same where their ids are."""
    endings = {document.document_id: _ending(document) for document in ledgers[0].documents()}
    same = differing = 0
    shown: list[Difference] = []
    for document in ledgers[1].documents():
        before, after = endings.pop(document.document_id, None), _ending(document)
        if before == after:
            same += 1
            continue
        differing += 1
        if len(shown) < MOST_DOCUMENTS:
            shown.append(_difference(document.document_id, before, after, texts))
    for document_id, before in endings.items():
        differing += 1
        if len(shown) < MOST_DOCUMENTS:
            shown.append(_difference(document_id, before, None, texts))
    return Comparison(
        tuple(_figures(first, second)),
        tuple(_stages(first, second)),
        same,
        differing,
        tuple(shown),
        {name: _diff(first, second, name, texts) for name in FILES},
    )


def _ending(document: DocumentRow) -> _Ending:
    sha256 = None if document.artifact is None else document.artifact.sha256
    return document.outcome or "unfinished", document.error_code, sha256


def _difference(document_id: str, before: _Ending | None, after: _Ending | None, texts: Texts) -> Difference:
    if before is None or after is None:
        what = "only in the second run" if before is None else "only in the first run"
    elif before[:2] != after[:2]:
        what = "ended otherwise"
    else:
        what = "another artifact"
    return Difference(texts.line(document_id, 120), _words(before), _words(after), what)


def _words(ending: _Ending | None) -> str:
    if ending is None:
        return "–"
    outcome, code, sha256 = ending
    return " ".join(filter(None, (outcome, code, "" if sha256 is None else sha256[:10])))


def _figures(first: RunFacts, second: RunFacts) -> Iterator[Figure]:
    def counted(name: str, one: float, two: float) -> Figure:
        return Figure(name, f"{one:,}", f"{two:,}", amounts.change(one, two))

    def timed(name: str, one: float | None, two: float | None) -> Figure:
        return Figure(name, amounts.seconds(one), amounts.seconds(two), amounts.change(one, two))

    yield counted("documents", first.outcomes.total(), second.outcomes.total())
    for outcome in ("succeeded", "failed", "skipped", "cancelled", "unfinished"):
        if first.outcomes[outcome] or second.outcomes[outcome]:
            yield counted(outcome, first.outcomes[outcome], second.outcomes[outcome])
    for name, pick in (
        ("HTTP requests", lambda role: role.attempts),
        ("tokens in", lambda role: role.usage.input_tokens),
        ("tokens out", lambda role: role.usage.output_tokens),
        ("tokens charged", lambda role: role.spent.tokens),
        ("of them unconfirmed", lambda role: role.spent.unknown_tokens),
    ):
        yield counted(name, *(sum(pick(role) for role in facts.roles) for facts in (first, second)))
    change = amounts.change(first.cost, second.cost)
    yield Figure("cost", amounts.money(first.cost), amounts.money(second.cost), change)
    yield timed("time of work", first.time.total, second.time.total)
    durations = sorted(first.durations), sorted(second.durations)
    for part, name in ((0.5, "document p50"), (0.95, "document p95")):
        yield timed(name, *(amounts.quantile(one, part) for one in durations))


def _stages(first: RunFacts, second: RunFacts) -> Iterator[Figure]:
    for stage in dict.fromkeys([*first.stages, *second.stages]):
        spreads = [facts.stages[stage].spread() if stage in facts.stages else None for facts in (first, second)]
        for name in ("pass p50", "pass p95", "request p50", "request p95"):
            field = {"pass p50": "pass_p50", "pass p95": "pass_p95", "request p50": "p50", "request p95": "p95"}[name]
            one, two = (None if spread is None else getattr(spread, field) for spread in spreads)
            if one is not None or two is not None:
                yield Figure(name, amounts.seconds(one), amounts.seconds(two), amounts.change(one, two), stage)


def _diff(first: RunFacts, second: RunFacts, name: str, texts: Texts) -> tuple[str, ...]:
    both = [read_text(facts, name, texts).splitlines() for facts in (first, second)]
    lines = [line.rstrip("\n") for line in unified_diff(*both, first.run.run_id, second.run.run_id, lineterm="", n=2)]
    more = len(lines) - MOST_DIFF_LINES
    return tuple(lines if more <= 0 else [*lines[:MOST_DIFF_LINES], f"({more:,} more lines)"])


def read_text(facts: RunFacts, name: str, texts: Texts) -> str:
    """Return one of the files that a run was configured by, as it was; a word where it can't be read."""
    try:
        with (facts.directory.path / name).open(encoding="utf-8", errors="replace") as file:
            return texts.block(file.read(200_000), 30_000)
    except OSError as exc:
        return f"({name} can't be read: {exc.strerror})"
