"""The run and the document that a command is to look at: found by what a person typed."""

import difflib
import shlex
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.commands.hidden import shown
from agent_pipeline.errors import InputError, LedgerError, RunDirectoryError
from agent_pipeline.ledger import DocumentRow, LedgerReader, open_reader
from agent_pipeline.paths import near
from agent_pipeline.runs.advice import Advice
from agent_pipeline.runs.directory import RunDirectory, find_run

_LOOKED_THROUGH = 20_000
"""Ids that a misspelt one is compared with; more would take seconds."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is being looked at."""

    directory: RunDirectory
    ledger: LedgerReader

    @property
    def as_typed(self) -> str:
        """The run as an argument of the next command."""
        return shlex.quote(near(str(self.directory.path)))

    def commands(self, advice: Advice, document_id: str = "") -> list[str]:
        """Return what to type, about this run and document."""
        config = self.ledger.run.config_path
        values = {
            "run": self.as_typed,
            "doc": self.argument(document_id) if document_id else "",
            "config": "" if config is None else shlex.quote(near(config)),
        }
        return [" ".join(command.format_map(values).split()) for command in advice.commands]

    def argument(self, document_id: str) -> str:
        """Return a document as the last argument of a command: its id, or its position where the id can't be typed.

        `--` keeps an id that begins with a dash from being a flag. An id that is shown otherwise than it is would not
        be found.
        """
        typed = shown(document_id)
        if typed != document_id:
            row = self.ledger.document(document_id)
            typed = typed if row is None else f"#{row.position}"
        return f"-- {shlex.quote(typed)}" if typed.startswith("-") else shlex.quote(typed)


@contextmanager
def looking_at(run: str) -> Generator[OpenRun]:
    """Find a run and read its ledger.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
    """
    directory = find_run(run, logs_here())
    with only_reading(), open_reader(directory.ledger) as ledger:
        yield OpenRun(directory, ledger)


@contextmanager
def only_reading() -> Generator[None]:
    """Let a ledger that can't be read count as a run that can't be: what was given is invalid, no run has failed.

    Raises:
        RunDirectoryError: the block met a ledger that can't be read.
    """
    try:
        yield
    except LedgerError as exc:
        raise RunDirectoryError(str(exc)) from exc


def find_document(ledger: LedgerReader, text: str) -> DocumentRow:
    """Return the document that was meant: by its id, by `#` and its position, or by the beginning of its id.

    Raises:
        InputError: there is none, or there are several.
    """
    known = ledger.document(text)
    if known is not None:
        return known
    if text.startswith("#") and text[1:].isdecimal():
        known = ledger.document_at(int(text[1:]))
        if known is not None:
            return known
        raise InputError(f"the run has no document at position {text[1:]}; {_extent(ledger)}")
    found = list(islice((one for one in ledger.document_ids() if text and one.startswith(text)), 4))
    if len(found) == 1:
        known = ledger.document(found[0])
    elif found:
        raise InputError(f"several documents begin with {text!r}: {_some(found)}; give more of the id")
    if known is None:
        raise InputError(f"the run has no document {text!r}; {_suggestion(ledger, text)}")
    return known


def _suggestion(ledger: LedgerReader, text: str) -> str:
    ids = list(islice(ledger.document_ids(), _LOOKED_THROUGH))
    near_ids = difflib.get_close_matches(text, ids, n=1)
    if near_ids:
        return f"did you mean {shown(near_ids[0])!r}?"
    by_source = list(islice(_with_source(ledger, text), 4))
    if by_source:
        return f"did you mean {_some(by_source)}?"
    return _extent(ledger)


def _with_source(ledger: LedgerReader, text: str) -> Iterator[str]:
    """Yield documents whose id or source holds the text, however it is spelt."""
    wanted = text.casefold()
    for one in islice(ledger.documents(), _LOOKED_THROUGH):
        if wanted and wanted in f"{one.document_id} {one.source or ''}".casefold():
            yield f"{one.document_id} ({one.source})" if one.source else one.document_id


def _extent(ledger: LedgerReader) -> str:
    count = sum(ledger.outcomes().values())
    if not count:
        return "no document of it was begun"
    first = next(ledger.document_ids())
    return f"it has {count:,}, the first is {shown(first)!r}; '#1' is the first by position"


def _some(names: list[str]) -> str:
    return ", ".join(map(shown, names[:3])) + (", ..." if len(names) > 3 else "")
