"""A process that leaves at once still writes what it took, within a bound; and what a kill between two steps leaves."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import (
    ATTEMPT,
    DISPATCHED,
    begin,
    begin_session,
    finish,
    open_session,
    run_and_kill,
    state_of,
)
from tests.ledger.watched import Watched

from agent_pipeline import failpoints
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import Ledger, open_ledger, open_reader
from agent_pipeline.ledger.commit import Connect, Entry, Writer
from agent_pipeline.ledger.inline_writer import InlineWriter
from agent_pipeline.ledger.schema import connect
from agent_pipeline.ledger.thread_writer import ThreadWriter

Ask = Callable[[str], list[dict[str, object]]]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no failpoint armed for the tests that follow."""
    yield
    failpoints.disarm_all()


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_closing_now_writes_what_is_queued(path: Path, query: Ask, *, threaded: bool, elsewhere: bool) -> None:
    """The file alone is the ledger then, from whichever thread it was closed, and nothing more is taken."""
    async with open_session(path, threaded=threaded) as ledger:
        ledger.record_attempt(ATTEMPT)
        close = partial(ledger.close_now, 5)
        assert await trio.to_thread.run_sync(close) if elsewhere else close()

        assert list(state_of(path.parent)) == ["ledger.sqlite3"]
        assert len(query("SELECT * FROM attempts")) == 1
        with pytest.raises(LedgerError, match="the ledger is closed"):
            ledger.record_attempt(DISPATCHED)
        with pytest.raises(LedgerError, match="the ledger is closed"):
            await begin(ledger, "1")
        assert ledger.close_now(5)

    assert len(query("SELECT * FROM attempts")) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_closing_now_ends_what_is_open(path: Path, query: Ask, *, threaded: bool) -> None:
    """Each document that was accepted has an ending, and one that had ended stays as it was."""
    async with open_session(path, threaded=threaded) as ledger:
        await begin(ledger, "1")
        await begin(ledger, "2", position=2)
        await finish(ledger, "2")
        ledger.record_attempt(DISPATCHED)

        assert ledger.close_now(5)
        assert ledger.close_now(5)

    one, two = query("SELECT outcome, error_code, error, ended_at FROM documents ORDER BY position")
    assert (one["outcome"], one["error_code"]) == ("cancelled", "interrupted")
    assert one["error"] == "the process left before the document ended"
    assert one["ended_at"]
    assert (two["outcome"], two["error"]) == ("failed", "never approved")
    attempts = query("SELECT outcome, error_code, charged_tokens FROM attempts")
    assert attempts == [{"outcome": "failed", "error_code": "interrupted", "charged_tokens": DISPATCHED.charged_tokens}]
    assert query("SELECT ended_at FROM sessions") == [{"ended_at": None}]


class LeavingThread(ThreadWriter):
    """A writer that is closed as soon as somebody waits."""

    async def wait_settled(self, settled: trio.Event) -> None:
        assert self.close_now(5, Entry(lambda _: None, is_read=False, settled=None))
        await super().wait_settled(settled)


class LeavingInline(InlineWriter):
    """The same without a thread."""

    async def wait_settled(self, settled: trio.Event) -> None:
        assert self.close_now(5, Entry(lambda _: None, is_read=False, settled=None))
        await super().wait_settled(settled)


@pytest.mark.parametrize("writer_class", [LeavingThread, LeavingInline])
async def test_those_who_wait_are_told_what_closing_now_wrote(
    path: Path, query: Ask, writer_class: Callable[[Path, Connect], Writer]
) -> None:
    """Their row is on disk; a waiter that is never woken would hang a run that ends after all."""
    writer = writer_class(path, connect)
    await writer.open()

    with trio.fail_after(5):
        session = await begin_session(Ledger(writer))
    await writer.aclose()

    assert session.number == 1
    assert len(query("SELECT * FROM sessions")) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_closing_now_after_a_failure_says_so(path: Path, *, threaded: bool) -> None:
    """Rows are missing, so the answer is no."""
    async with open_session(path, threaded=threaded, connect=Watched(max_pages=14)) as ledger:
        with pytest.raises(LedgerError, match="SQLITE_FULL"):
            await begin(ledger, "1", source="x" * 20_000)

        assert not ledger.close_now(5)


@pytest.mark.parametrize("writer_class", [ThreadWriter, InlineWriter])
async def test_closing_now_is_bounded(path: Path, writer_class: Callable[[Path, Connect], Writer]) -> None:
    """A disk that hangs must not keep the process; it is told that rows are missing."""
    is_committing, may_go_on = threading.Event(), threading.Event()
    written: list[bool] = []
    watched = Watched()
    writer = writer_class(path, watched)
    await writer.open()
    ledger = Ledger(writer)
    await begin_session(ledger)

    def hang() -> None:
        is_committing.set()
        may_go_on.wait(10)

    def close() -> None:
        is_committing.wait(10)
        written.append(ledger.close_now(0.05))
        may_go_on.set()

    failpoints.arm("ledger.before_commit", hang)
    closer = threading.Thread(target=close)
    closer.start()
    await begin(ledger, "1")
    closer.join()
    await writer.aclose()

    assert written == [False]
    assert writer.failure is None


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize(("point", "rows"), [("ledger.before_commit", 0), ("ledger.after_commit", 1)])
async def test_an_error_beside_the_commit_is_no_acknowledgement(
    path: Path, query: Ask, point: str, rows: int, *, threaded: bool
) -> None:
    """Whoever waits is refused, whether the row made it to disk or not; nothing is written from then on."""

    def fail() -> None:
        raise OSError("the disk is gone")

    async with open_session(path, threaded=threaded) as ledger:
        failpoints.arm(point, fail)
        with pytest.raises(LedgerError, match="the disk is gone"):
            await begin(ledger, "1")
        failpoints.disarm_all()
        with pytest.raises(LedgerError, match="the disk is gone"):
            await begin(ledger, "2")

    assert len(query("SELECT * FROM documents")) == rows


async def test_looking_up_reaches_no_failpoint(path: Path) -> None:
    """Nothing is committed, so there is nothing to come apart."""
    reached: list[str] = []
    async with open_session(path) as ledger:
        for point in ("ledger.before_commit", "ledger.after_commit"):
            failpoints.arm(point, partial(reached.append, point))
        await ledger.find_documents(["1"])
        assert reached == []
        await begin(ledger, "1")

    assert reached == ["ledger.before_commit", "ledger.after_commit"]


KILLED_AT = """
import os, signal, sys, trio
from pathlib import Path
from tests.ledger.steps import DISPATCHED, begin, begin_session, finish, open_session
from agent_pipeline import failpoints
from agent_pipeline.ledger import open_ledger

async def main():
    async with open_session(Path(sys.argv[1])) as ledger:
        ledger.record_attempt(DISPATCHED)
        await begin(ledger, "1")
    async with open_ledger(Path(sys.argv[1]), threaded={threaded}) as ledger:
        failpoints.arm({point!r}, lambda: os.kill(os.getpid(), signal.SIGKILL))
        await begin_session(ledger)

trio.run(main)
"""


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize(("point", "sessions"), [("ledger.before_commit", 1), ("ledger.after_commit", 2)])
async def test_a_session_begins_whole_or_not_at_all(path: Path, point: str, sessions: int, *, threaded: bool) -> None:
    """Killed as it begins: the next one finds all that was open, or all of it closed."""
    run_and_kill(KILLED_AT.format(point=point, threaded=threaded), path)

    with open_reader(path) as reader:
        assert len(list(reader.sessions())) == sessions
        assert [row.outcome for row in reader.documents()] == [None if sessions == 1 else "cancelled"]
        assert [row.attempt.outcome for row in reader.attempts()] == [None if sessions == 1 else "failed"]
    async with open_ledger(path) as ledger:
        session = await begin_session(ledger)

    assert session.number == sessions + 1
    assert (session.interrupted_documents, session.interrupted_attempts) == ((1, 1) if sessions == 1 else (0, 0))
    assert (session.attempts, session.charged_tokens, session.unknown_tokens) == (1, 100, 100)


KILLED_WHILE_WAITING = """
import os, signal, sys, trio
from pathlib import Path
from tests.ledger.steps import DISPATCHED, open_session

async def main():
    async with open_session(Path(sys.argv[1])) as ledger:
        ledger.record_attempt(DISPATCHED)
        await trio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


def test_a_request_that_was_sent_soon_has_a_row(path: Path) -> None:
    """Nobody waits for it, and yet a kill some time later must find what may have been billed."""
    run_and_kill(KILLED_WHILE_WAITING, path)

    with open_reader(path) as reader:
        (row,) = reader.attempts()
    assert row.attempt == DISPATCHED
