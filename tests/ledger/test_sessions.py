"""How one process takes over from another: what was left open is closed, what was spent is added up."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import (
    ARTIFACT,
    AT,
    ATTEMPT,
    DISPATCHED,
    LATER,
    SHA,
    begin,
    begin_session,
    finish,
    open_session,
    reopen,
    save,
)

from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.domain.usage import AttemptRecord, Spending, Usage
from agent_pipeline.errors import DuplicateDocumentError, LedgerError
from agent_pipeline.ledger import Ledger, Session, open_ledger

Ask = Callable[[str], list[dict[str, object]]]

LATER_TEXT = "2026-11-20T10:05:00.000000+00:00"


async def test_the_first_session_begins_from_nothing(path: Path) -> None:
    """There is nothing to be kept, and nothing was spent."""
    async with open_ledger(path) as ledger:
        assert await begin_session(ledger) == Session(
            number=1,
            interrupted_documents=0,
            interrupted_attempts=0,
            attempts=0,
            requests=0,
            usage=Usage(),
            charged_tokens=0,
            unknown_tokens=0,
            charged_micro_usd=0,
            unknown_cost=False,
            last_position=0,
        )


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_session_closes_what_a_killed_one_left_open(path: Path, query: Ask, *, threaded: bool) -> None:
    """No row may say forever that something is under way; what had ended stays as it was."""
    async with open_session(path) as ledger:
        await begin(ledger, "done", position=1)
        await finish(ledger, "done")
        await begin(ledger, "open", position=8)
        ledger.record_attempt(replace(ATTEMPT, attempt_id="done"))
        ledger.record_attempt(replace(DISPATCHED, attempt_id="open"))

    async with open_ledger(path, create=False, threaded=threaded) as ledger:
        session = await begin_session(ledger, at=LATER, pid=8)

    assert (session.number, session.interrupted_documents, session.interrupted_attempts) == (2, 1, 1)
    assert session.last_position == 8
    assert session.ended_at == {1: LATER}
    assert query("SELECT document_id, outcome, error_code, ended_at, session FROM documents ORDER BY position") == [
        {
            "document_id": "done",
            "outcome": "failed",
            "error_code": "rejected",
            "ended_at": "2026-11-20T09:05:00.000000+00:00",
            "session": 1,
        },
        {
            "document_id": "open",
            "outcome": "cancelled",
            "error_code": "interrupted",
            "ended_at": LATER_TEXT,
            "session": 1,
        },
    ]
    assert query("SELECT attempt_id, outcome, error_code, charged_tokens FROM attempts ORDER BY 1") == [
        {"attempt_id": "done", "outcome": "succeeded", "error_code": None, "charged_tokens": 14},
        {"attempt_id": "open", "outcome": "failed", "error_code": "interrupted", "charged_tokens": 100},
    ]
    assert query("SELECT session, pid, host, ended_at, outcome, reason FROM sessions") == [
        {"session": 1, "pid": 7, "host": "here", "ended_at": LATER_TEXT, "outcome": "incomplete", "reason": "killed"},
        {"session": 2, "pid": 8, "host": "here", "ended_at": None, "outcome": None, "reason": None},
    ]


async def test_a_session_is_told_what_all_earlier_ones_spent(path: Path) -> None:
    """The budget goes on from there; a request without a report or a price makes that much unknown."""
    async with open_session(path) as ledger:
        ledger.record_attempt(ATTEMPT)
        ledger.record_attempt(replace(ATTEMPT, attempt_id="a2", number=2))
        ledger.record_attempt(replace(DISPATCHED, attempt_id="a3", call_id="c2"))
        await ledger.finish_run(outcome="incomplete", reason="signal:SIGINT", ended_at=AT)
    async with open_ledger(path) as ledger:
        known = await begin_session(ledger)
        no_price = replace(ATTEMPT, attempt_id="a4", call_id="c3", usage=None, charged_tokens=7, cost_micro_usd=None)
        ledger.record_attempt(no_price)
    async with open_ledger(path) as ledger:
        unknown = await begin_session(ledger)

    assert (known.attempts, known.requests, known.charged_tokens, known.unknown_tokens) == (3, 2, 128, 100)
    assert (known.usage, known.charged_micro_usd, known.unknown_cost) == (Usage(20, 8, 6, 4), 7468, False)
    assert (unknown.attempts, unknown.requests, unknown.charged_tokens, unknown.unknown_tokens) == (4, 3, 135, 107)
    assert (unknown.charged_micro_usd, unknown.unknown_cost) == (7468, True)


async def test_a_session_is_told_what_each_role_spent(path: Path) -> None:
    """A role's budget goes on from there, as the run's does; the parts add up to the whole."""
    async with open_session(path) as ledger:
        ledger.record_attempt(ATTEMPT)
        ledger.record_attempt(replace(DISPATCHED, attempt_id="a2", role="writer"))
        ledger.record_attempt(replace(ATTEMPT, attempt_id="a3", role="writer", cost_micro_usd=None))
        await ledger.finish_run(outcome="incomplete", reason="budget:role:writer:tokens", ended_at=AT)
    async with open_ledger(path) as ledger:
        session = await begin_session(ledger)
        of_document = await ledger.spent_on("1")
        of_nobody = await ledger.spent_on("nobody")
        of_each = await ledger.spent_on_each(["nobody", "1"])

    assert session.roles == {"reviewer": Spending(14, 0, 1234), "writer": Spending(114, 100, 5000)}
    assert (session.charged_tokens, session.unknown_tokens, session.charged_micro_usd) == (128, 100, 6234)
    assert session.unknown_cost
    assert (of_document, of_nobody) == (Spending(128, 100, 6234), Spending())
    assert of_each == {"1": Spending(128, 100, 6234)}


async def test_a_first_session_has_no_roles(path: Path) -> None:
    """Nothing was spent yet."""
    async with open_ledger(path) as ledger:
        session = await begin_session(ledger)

    assert (session.roles, session.charged_tokens, session.unknown_cost) == ({}, 0, False)


async def test_a_run_that_goes_on_has_not_ended(path: Path, query: Ask) -> None:
    """Also one that was completed: only the last session says how it ended, each of them keeps its own end."""
    async with open_session(path) as ledger:
        await ledger.finish_run(outcome="completed", reason=None, ended_at=AT)
        with pytest.raises(LedgerError, match="already ended"):
            await ledger.finish_run(outcome="failed", reason=None, ended_at=AT)
    async with open_ledger(path) as ledger:
        await begin_session(ledger, at=LATER)
        assert query("SELECT outcome, ended_at FROM run") == [{"outcome": None, "ended_at": None}]
        await ledger.finish_run(outcome="incomplete", reason="budget:tokens", ended_at=LATER)

    assert query("SELECT run_id, started_at, ended_at, outcome, reason, config_path, options_json FROM run") == [
        {
            "run_id": "r",
            "started_at": "2026-11-20T09:05:00.000000+00:00",
            "ended_at": LATER_TEXT,
            "outcome": "incomplete",
            "reason": "budget:tokens",
            "config_path": "/in/smoke.yaml",
            "options_json": '{"limit": 5}',
        }
    ]
    assert query("SELECT outcome, reason FROM sessions ORDER BY session") == [
        {"outcome": "completed", "reason": None},
        {"outcome": "incomplete", "reason": "budget:tokens"},
    ]


@pytest.mark.parametrize("threaded", [True, False])
async def test_another_run_is_refused_and_nothing_of_it_is_written(path: Path, query: Ask, *, threaded: bool) -> None:
    """Another run has its own file."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")

    async with open_ledger(path, threaded=threaded) as ledger:
        with pytest.raises(LedgerError, match="belongs to run r, not to other"):
            await begin_session(ledger, run_id="other")
        assert ledger.failure is None

    assert query("SELECT session, outcome FROM sessions") == [{"session": 1, "outcome": None}]
    assert query("SELECT outcome FROM documents") == [{"outcome": None}]


async def test_a_run_is_ended_whole_or_not_at_all(path: Path, query: Ask) -> None:
    """A refusal in the middle of an entry of several statements undoes the first ones, and no other entry."""
    async with open_session(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE run SET ended_at = 'x', outcome = 'failed'")
        with pytest.raises(LedgerError, match="already ended"):
            await ledger.finish_run(outcome="completed", reason=None, ended_at=AT)
        await begin(ledger, "1")

    assert query("SELECT outcome, ended_at FROM sessions") == [{"outcome": None, "ended_at": None}]
    assert len(query("SELECT * FROM documents")) == 1


@asynccontextmanager
async def second_session(path: Path) -> AsyncGenerator[Ledger]:
    """Go on with a run that has one succeeded document with a result."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await save(ledger, "{}")
        await finish(ledger, "1", outcome="succeeded", artifact=ARTIFACT)
    async with open_ledger(path) as ledger:
        await begin_session(ledger, at=LATER)
        yield ledger


async def test_a_reopened_document_has_no_ending_but_its_results(path: Path, query: Ask) -> None:
    """What it was is gone with the artifact it had; what was paid for is found again."""
    async with second_session(path) as ledger:
        await reopen(ledger, "1", position=3, at=LATER)
        found = await ledger.find_stage_result("1", ResultKey("route", 1, SHA))

    assert found == "{}"
    assert query("SELECT * FROM documents") == [
        {
            "document_id": "1",
            "position": 3,
            "source": "again.md",
            "content_sha256": "1" * 64,
            "outcome": None,
            "error_code": None,
            "error": None,
            "failed_stage": None,
            "reworks": 0,
            "artifact_path": None,
            "artifact_sha256": None,
            "artifact_size_bytes": None,
            "started_at": LATER_TEXT,
            "ended_at": None,
            "trace_id": "trace_2",
            "plan_sha256": "q" * 64,
            "session": 2,
        }
    ]


async def test_a_document_may_be_reopened_once_in_a_session(path: Path) -> None:
    """Two entries of the source with one id are as wrong in a later session as in the first."""
    async with second_session(path) as ledger:
        await reopen(ledger, "1")
        with pytest.raises(DuplicateDocumentError, match=r"'1': number 1 \(again.md\) and number 4 \(again.md\)"):
            await reopen(ledger, "1", position=4)
        await finish(ledger, "1")
        with pytest.raises(DuplicateDocumentError):
            await reopen(ledger, "1", position=4)
        with pytest.raises(DuplicateDocumentError):
            await begin(ledger, "1", position=4)
        with pytest.raises(LedgerError, match="'ghost' was never begun"):
            await reopen(ledger, "ghost")


async def test_a_document_may_end_otherwise_without_work(path: Path, query: Ask) -> None:
    """What was worked on may be skipped or invalid by now; it has no content, no plan and no artifact then."""
    async with second_session(path) as ledger:
        await ledger.reopen_and_finish_document(
            document_id="1",
            position=2,
            source=None,
            outcome="skipped",
            error_code=None,
            error="no text",
            at=LATER,
        )

    (row,) = query("SELECT * FROM documents")
    assert (row["outcome"], row["error"], row["ended_at"], row["session"], row["position"]) == (
        "skipped",
        "no text",
        LATER_TEXT,
        2,
        2,
    )
    assert (row["content_sha256"], row["plan_sha256"], row["artifact_path"], row["reworks"]) == (None, None, None, 0)


async def test_a_kept_document_can_be_moved(path: Path, query: Ask) -> None:
    """The source may have another order by now, and nothing else of the row changes."""
    async with second_session(path) as ledger:
        await ledger.move_document("1", 17)
        with pytest.raises(LedgerError, match="'ghost' was never begun"):
            await ledger.move_document("ghost", 1)

    assert query("SELECT position, outcome, session FROM documents") == [
        {"position": 17, "outcome": "succeeded", "session": 1}
    ]


async def test_documents_are_found_by_their_ids(path: Path) -> None:
    """All that decides whether a document is kept comes with one question."""
    async with second_session(path) as ledger:
        await begin(ledger, "2", position=2)
        found = await ledger.find_documents(["1", "2", "3"])
        none = await ledger.find_documents([])

    assert none == {}
    at = AT.isoformat(timespec="microseconds")
    written = ARTIFACT.path, ARTIFACT.sha256, ARTIFACT.size_bytes
    first = ("1", 1, "succeeded", SHA, "p" * 64, *written, None, None, None, 1, 2, at, at)
    assert found == {"1": first, "2": ("2", 2, None, SHA, "p" * 64, *[None] * 6, 2, 0, at, None)}
    assert [one.artifact for one in found.values()] == [ARTIFACT, None]


async def test_any_number_of_documents_can_be_asked_for(path: Path) -> None:
    """SQLite takes a limited number of values in a statement."""
    async with open_session(path, threaded=False) as ledger:
        for number in range(0, 1300, 100):
            await begin(ledger, str(number))
        found = await ledger.find_documents([str(number) for number in range(1301)])

    assert list(found) == [str(number) for number in range(0, 1300, 100)]


@pytest.mark.parametrize("threaded", [True, False])
async def test_both_records_of_an_attempt_make_one_row(path: Path, query: Ask, *, threaded: bool) -> None:
    """The charge is the reservation while it is under way, and what was reported then."""
    asked = "SELECT outcome, charged_tokens, input_tokens, cost_micro_usd, latency_seconds, provider_request_id "
    asked += "FROM attempts"
    async with open_session(path, threaded=threaded) as ledger:
        ledger.record_attempt(DISPATCHED)
        await begin(ledger, "1")
        under_way = query(asked)
        ledger.record_attempt(ATTEMPT)

    assert under_way == [
        {
            "outcome": None,
            "charged_tokens": 100,
            "input_tokens": None,
            "cost_micro_usd": 5000,
            "latency_seconds": 0.0,
            "provider_request_id": None,
        }
    ]
    assert query(asked) == [
        {
            "outcome": "succeeded",
            "charged_tokens": 14,
            "input_tokens": 10,
            "cost_micro_usd": 1234,
            "latency_seconds": 1.5,
            "provider_request_id": "req-1",
        }
    ]


@pytest.mark.parametrize("again", [ATTEMPT, DISPATCHED])
@pytest.mark.parametrize("first", [ATTEMPT, DISPATCHED])
async def test_an_attempt_of_an_earlier_session_is_not_written_over(
    path: Path, query: Ask, first: AttemptRecord, again: AttemptRecord
) -> None:
    """Two attempts of one id would be one charge for two requests."""
    async with open_session(path) as ledger:
        ledger.record_attempt(first)

    async def record_again() -> None:
        async with open_session(path) as ledger:
            ledger.record_attempt(replace(again, cost_micro_usd=1))

    with pytest.raises(LedgerError, match=r"already ended|UNIQUE"):
        await record_again()

    assert query("SELECT cost_micro_usd FROM attempts") == [{"cost_micro_usd": first.cost_micro_usd}]


async def test_an_attempt_is_sent_once(path: Path, query: Ask) -> None:
    """A second one of its id, sent while it is under way, must not hide in its row."""

    async def record_twice() -> None:
        async with open_session(path) as ledger:
            ledger.record_attempt(DISPATCHED)
            ledger.record_attempt(replace(DISPATCHED, number=2))

    with pytest.raises(LedgerError, match="UNIQUE"):
        await record_twice()

    assert query("SELECT number FROM attempts") == [{"number": 1}]


async def open_existing(path: Path) -> None:
    """Open a ledger for a run that goes on."""
    async with open_ledger(path, create=False):
        pass


def test_a_missing_ledger_is_not_created_for_a_run_that_goes_on(path: Path) -> None:
    """A run without its ledger would be done, and paid for, once more."""
    with pytest.raises(LedgerError, match="No such file"):
        trio.run(open_existing, path)
    assert not path.exists()

    path.touch()
    with pytest.raises(LedgerError, match="an empty ledger, no run has begun in it"):
        trio.run(open_existing, path)
    assert path.stat().st_size == 0
