"""A document's own budget: it ends that document alone, goes with it, and remembers earlier sessions."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import ATTEMPT, DISPATCHED
from tests.pipeline.world import entries, entry, open_run, plan
from trio.testing import MockClock

from agent_pipeline.control.budget import Budget, Caps
from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import Event, RunStopping
from agent_pipeline.errors import BudgetExceededError
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.context import StageContext


async def once(document: Document, context: StageContext) -> Document:
    """Ask the model once."""
    await context.ask("Say something.", role="writer")
    return document


async def often(document: Document, context: StageContext) -> Document:
    """Ask the model until something gives: once by a plain call, then by an agent, in the first document only."""
    await context.ask("Say something.", role="writer")
    while document.id == "1":
        await context.run_agent("writer", "Say something.")
    return document


async def test_a_document_that_asks_too_much_fails_and_the_others_do_not(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its plain calls and its agents' are charged to one budget; the run goes on, and ends well for the rest."""
    async with open_run(tmp_path, plan(often)) as run:
        run.itinerary = replace(run.itinerary, document_caps=Caps(tokens=3000))

        await run.documents(entries(3))

        assert run.outcomes() == {
            "1": ("failed", "document_budget_exceeded"),
            "2": ("succeeded", None),
            "3": ("succeeded", None),
        }
        assert run.stop.reason is None
        charged: dict[str | None, int] = {}
        for record in run.world.records:
            charged[record.document_id] = charged.get(record.document_id, 0) + record.charged_tokens
        assert 0 < charged["2"] < charged["1"] <= 3000
        run.assert_accounted()


async def test_a_budget_goes_with_its_document(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A million documents must not leave a million counters."""
    kept: list[weakref.ref[Budget]] = []

    async def look(document: Document, context: StageContext) -> Document:
        budget = current_scope().budget
        assert budget is not None
        assert (budget.kind, budget.name) == ("document", document.id)
        kept.append(weakref.ref(budget))
        return document

    async with open_run(tmp_path, plan(look, once)) as run:
        run.itinerary = replace(run.itinerary, document_caps=Caps(tokens=100_000))
        await run.documents(entries(5))

        gc.collect()
        assert len(kept) == 5
        assert [one() for one in kept] == [None] * 5


async def test_without_a_cap_a_document_has_no_budget(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nothing is counted that nobody asked to limit."""
    seen: list[Budget | None] = []

    async def look(document: Document, context: StageContext) -> Document:
        seen.append(current_scope().budget)
        return document

    async with open_run(tmp_path, plan(look)) as run:
        await run.documents([entry(1)])

    assert seen == [None]


@pytest.mark.parametrize("session", [1, 2])
async def test_a_document_taken_up_again_goes_on_with_what_is_left(
    session: int, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What earlier sessions were charged counts, reported or not; another document's does not."""
    async with open_run(tmp_path, plan(once)) as run:
        records = replace(run.records, session=session)
        run.itinerary = replace(run.itinerary, document_caps=Caps(tokens=500, micro_usd=9000), records=records)
        run.ledger.record_attempt(ATTEMPT)
        run.ledger.record_attempt(replace(DISPATCHED, attempt_id="a2"))
        run.ledger.record_attempt(replace(ATTEMPT, attempt_id="a3", document_id="2"))

        budget = await run.itinerary.open_budget("1")

    assert budget is not None
    tokens, money = budget.tokens.statistics(), budget.micro_usd.statistics()
    assert (tokens.total, money.total) == (500, 9000)
    assert (tokens.spent, tokens.unknown, money.spent) == ((0, 0, 0) if session == 1 else (114, 100, 6234))


async def test_the_reason_names_every_budget_that_was_used_up(autojump_clock: MockClock) -> None:
    """Whichever request came first: the run's own come before the roles', each once; told once."""
    events: list[Event] = []
    stop = Stop(events.append, trio.CancelScope())
    first = BudgetExceededError("first", dimension="role:writer:tokens", others=("usd",))

    stop.request_for(first)
    stop.request_for(BudgetExceededError("second", dimension="tokens"))
    stop.request_for(BudgetExceededError("third", dimension="usd"))

    assert (stop.reason, stop.error) == ("budget:tokens,usd,role:writer:tokens", first)
    assert events == [RunStopping("budget:usd,role:writer:tokens", "first")]


async def test_a_budget_used_up_after_another_stop_changes_no_reason(autojump_clock: MockClock) -> None:
    """The first reason decides the exit code."""
    stop = Stop(lambda _: None, trio.CancelScope())
    stop.request("signal:SIGINT", "SIGINT received", cancel=False)

    stop.request_for(BudgetExceededError("spent", dimension="tokens"))

    assert stop.reason == "signal:SIGINT"
