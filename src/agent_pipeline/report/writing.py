"""From a run's directory to a file: read, render, put in place."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.errors import InputError
from agent_pipeline.ledger import LedgerReader, open_reader
from agent_pipeline.report.comparison import compare
from agent_pipeline.report.conversations import read_exchanges
from agent_pipeline.report.documents import Documents, Writer, traced
from agent_pipeline.report.facts import RunFacts, read_facts
from agent_pipeline.report.page import Page, render
from agent_pipeline.report.texts import Texts
from agent_pipeline.report.timeline import timeline
from agent_pipeline.report.verdicts import read_verdicts
from agent_pipeline.runs.directory import RunDirectory, write_private
from agent_pipeline.runs.state import RunState
from agent_pipeline.telemetry import Redactor


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written.

    Attributes:
        state: of the run: its outcome, `running` or `killed`.
        documents: in the run; `rows` of them are listed, `detailed` with their whole way.
    """

    path: Path
    size_bytes: int
    state: RunState
    documents: int
    rows: int
    detailed: int


def write_report(
    run: RunDirectory,
    other: RunDirectory | None = None,
    *,
    output: Path | None = None,
    clean: Redactor,
    reason_in_words: Callable[[str], str],
) -> Written:
    """Write the page about a run, mode 0600; it appears whole or not at all, in the place of an older one.

    The run is only read; it may go on meanwhile, or have been killed: the page says so.

    Args:
        run: what it is about.
        other: compared with it.
        output: where to write; by default `report.html` in the run's directory, which no check of the run counts.
        clean: takes secrets out of everything that is shown.
        reason_in_words: says in words why a run ended early.

    Raises:
        LedgerError: a ledger can't be read; nothing is written.
        InputError: the file can't be written; an older one is as it was.
    """
    target = run.report if output is None else output.absolute()
    _check_target(target)
    texts = Texts(clean)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_reader(run.ledger))
        facts = read_facts(run, ledger, texts)
        writer = Writer(facts, texts)
        documents = _documents(facts, ledger, writer, texts)
        page = Page(facts, texts, reason_in_words, documents, timeline(facts.course, facts.time), documents.verdicts)
        if other is not None:
            second = stack.enter_context(open_reader(other.ledger))
            other_facts = read_facts(other, second, texts)
            page.other, page.comparison = other_facts, compare(facts, other_facts, (ledger, second), texts)
        html = render(page, writer)
    try:
        write_private(target, html)
    except OSError as exc:
        raise InputError(f"{target}: the report can't be written: {exc.strerror}; --output names another file") from exc
    rows, detailed = documents.count, len(documents.stories)
    return Written(target, len(html.encode()), facts.state, facts.outcomes.total(), rows, detailed)


def _documents(facts: RunFacts, ledger: LedgerReader, writer: Writer, texts: Texts) -> Documents:
    documents = writer.rows(ledger)
    documents.verdicts = read_verdicts(facts.directory.reviews, documents.ids, texts)
    exchanges = read_exchanges(facts.directory.sdk_traces, traced(ledger, documents.ids), texts)
    documents.has_texts = bool(exchanges)
    writer.details(ledger, documents, documents.verdicts.of, exchanges)
    return documents


def _check_target(target: Path) -> None:
    """Say early, before a long run is read, that a file can't be there."""
    if target.is_dir():
        raise InputError(f"{target} is a directory; --output names the file to write, {target / 'report.html'} perhaps")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no directory {target.parent}; make it first, or name another file")
