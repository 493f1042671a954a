"""The ledger cancelled at every scheduler step: what was handed in is on disk, whole and once."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import ATTEMPT, DISPATCHED, begin, finish, open_session, save

from agent_pipeline.ledger import Ledger
from agent_pipeline.testing import cancel_at_every_step, virtual_clock

DOCUMENTS = ("1", "2", "3")


class Book:
    """What the tasks handed in, and what they were told is on disk."""

    def __init__(self) -> None:
        self.put: set[tuple[str, str]] = set()
        self.told: set[tuple[str, str]] = set()

    async def work(self, ledger: Ledger, document_id: str) -> None:
        """Do with a document what a run does."""
        with self._handed_in("begun", document_id):
            await begin(ledger, document_id, position=int(document_id))
        with self._handed_in("dispatched", document_id):
            ledger.record_attempt(replace(DISPATCHED, attempt_id=document_id, document_id=document_id))
            await trio.lowlevel.checkpoint()
        with self._handed_in("ended", document_id):
            ledger.record_attempt(replace(ATTEMPT, attempt_id=document_id, document_id=document_id))
        with self._handed_in("results", document_id):
            await save(ledger, f'"{document_id}"', document_id=document_id)
        with self._handed_in("finished", document_id):
            await finish(ledger, document_id)

    @contextmanager
    def _handed_in(self, what: str, document_id: str) -> Generator[None]:
        self.put.add((what, document_id))
        yield
        self.told.add((what, document_id))


def rows_of(path: Path) -> set[tuple[str, str]]:
    """Return what is on disk in the words of `Book`, after a look at the file itself."""
    queries = {
        "begun": "SELECT document_id FROM documents",
        "results": "SELECT document_id FROM stage_results",
        "finished": "SELECT document_id FROM documents WHERE ended_at IS NOT NULL",
        "dispatched": "SELECT attempt_id FROM attempts",
        "ended": "SELECT attempt_id FROM attempts WHERE outcome IS NOT NULL",
    }
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [(table, row[0]) for table, query in queries.items() for row in connection.execute(query)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(("threaded", "stride"), [(False, 1), (True, 5), pytest.param(True, 1, marks=pytest.mark.slow)])
def test_writer_cancelled_at_every_step(
    tmp_path_factory: pytest.TempPathFactory, *, threaded: bool, stride: int
) -> None:
    """Opening and closing included. Cancelled while it waits, a row is written all the same: that is the promise."""
    written: list[int] = []

    async def operation(scope: trio.CancelScope) -> None:
        path = tmp_path_factory.mktemp("run") / "ledger.sqlite3"
        book = Book()
        with scope:
            async with open_session(path, threaded=threaded) as ledger, trio.open_nursery() as nursery:
                for document_id in DOCUMENTS:
                    nursery.start_soon(book.work, ledger, document_id)

        assert "ledger writer" not in {thread.name for thread in threading.enumerate()}
        assert rows_of(path) == book.put >= book.told
        assert [left.name for left in path.parent.iterdir()] == [path.name]
        written.append(len(book.put))

    assert cancel_at_every_step(operation, stride=stride, clock=None if threaded else virtual_clock) > 5
    assert {0, 5 * len(DOCUMENTS)} < set(written)
