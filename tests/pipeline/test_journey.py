"""One document's way: its stages, its cycles, its one ending."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.pipeline.world import entry, open_run, plan, upper
from trio.testing import MockClock

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import (
    DocumentFinished,
    DocumentSizeWarning,
    DocumentStarted,
    PipelineFailure,
    Review,
    Rework,
    StageFinished,
    StageMessage,
    StageStarted,
)
from agent_pipeline.errors import (
    DocumentInvalidError,
)
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import PlannedStage, Stage


async def test_document_goes_through_the_stages_in_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    """And leaves a trail: events, stage results, one terminal record, one artifact."""

    async def name(document: Document, context: StageContext) -> Document:
        assert context.original.text == "a text"
        assert (context.document_id, context.stage, context.cycle) == ("1", "name", 1)
        context.log("NAMED", slug="tides")
        return document.with_fields(file_slug="tides", extension="md")

    async with open_run(tmp_path, plan(upper, name)) as run:
        await run.documents([entry(1, "a text")])

        assert run.outcomes() == {"1": ("succeeded", None)}
        assert run.artifacts == {"tides.md": "A TEXT"}
        assert run.rows("select stage, cycle from stage_results order by rowid") == [("upper", 1), ("name", 1)]
        (stored,) = run.rows("select output_json from stage_results where stage = 'name'")[0]
        assert json.loads(stored) == {
            "text": "A TEXT",
            "fields": {"cycle": 1, "file_slug": "tides", "extension": "md"},
            "verdict": None,
        }
        assert run.rows("select artifact_path from documents") == [(str(tmp_path / "artifacts" / "tides.md"),)]
        trail = [type(event) for event in run.world.events]
        assert trail == [
            DocumentStarted,
            StageStarted,
            StageFinished,
            StageStarted,
            StageMessage,
            StageFinished,
            DocumentFinished,
        ]
        run.assert_accounted()


async def test_large_document_is_announced(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Over a million bytes, not characters."""
    async with open_run(tmp_path, plan(upper)) as run:
        await run.documents([entry(1, "é" * 500_000), entry(2, "é" * 500_001)])

        assert [event.document_id for event in run.events(DocumentSizeWarning)] == ["2"]


async def test_skipped_and_invalid_entries_have_their_record(autojump_clock: MockClock, tmp_path: Path) -> None:
    """They were never worked on, and no stage sees them."""
    invalid = DocumentInvalidError("line 3 is no JSON")
    source = [entry(1, document=None, skipped="no text"), entry(2, document=None, error=invalid), entry(3)]
    async with open_run(tmp_path, plan(upper)) as run:
        await run.documents(source)

        assert run.outcomes() == {
            "1": ("skipped", None),
            "2": ("failed", "document_invalid"),
            "3": ("succeeded", None),
        }
        reasons = run.rows("select error from documents order by position")
        assert reasons == [("no text",), ("line 3 is no JSON",), (None,)]
        assert {event.document_id for event in run.events(StageStarted)} == {"3"}
        assert [failure.document_id for failure in run.tally.shown_failures()] == ["2"]
        run.assert_accounted()


# --- rework ------------------------------------------------------------------------------------------------------


def _reviewing(approve_in: int, *, rework_to: str | None = "write", max_reworks: int = 2) -> PlannedStage:
    async def review(document: Document, context: StageContext) -> Document:
        approved = context.cycle >= approve_in
        context.review(approved=approved, issues=f"issue {context.cycle}", suggestions="mend it")
        return document.with_fields(issues=f"issue {context.cycle}")

    return PlannedStage(Stage("review", review), rework_to, max_reworks)


async def write(document: Document, context: StageContext) -> Document:
    """Write again, with what the reviewer said."""
    said = document.fields.get("issues", "nothing")
    return document.with_text(f"{document.text} [{context.cycle}: {said}]")


async def test_feedback_goes_back_until_it_is_approved(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The next cycle sees the last text and the reviewer's words; later stages run once."""
    async with open_run(tmp_path, plan(write, _reviewing(3), upper)) as run:
        await run.documents([entry(1, "text")])

        assert run.outcomes() == {"1": ("succeeded", None)}
        assert run.artifacts == {"1.md": "TEXT [1: NOTHING] [2: ISSUE 1] [3: ISSUE 2]"}
        passes = [(event.stage, event.cycle) for event in run.events(StageStarted)]
        assert passes == [
            ("write", 1),
            ("review", 1),
            ("write", 2),
            ("review", 2),
            ("write", 3),
            ("review", 3),
            ("upper", 1),
        ]
        assert [(event.stage, event.to, event.cycle) for event in run.events(Rework)] == [
            ("review", "write", 1),
            ("review", "write", 2),
        ]
        assert [event.approved for event in run.events(Review)] == [False, False, True]
        assert run.rows("select reworks from documents") == [(2,)]
        stored = run.rows("select output_json from stage_results where stage = 'review' order by cycle")
        assert [json.loads(row)["verdict"]["approved"] for (row,) in stored] == [False, False, True]
        run.assert_accounted()


@pytest.mark.parametrize("max_reworks", [0, 1, 2])
async def test_never_approved_is_rejected_with_its_last_text_kept(
    autojump_clock: MockClock, tmp_path: Path, max_reworks: int
) -> None:
    """After so many reworks; nothing becomes an artifact, and what was paid for is not thrown away."""
    async with open_run(tmp_path, plan(write, _reviewing(99, max_reworks=max_reworks), upper)) as run:
        await run.documents([entry(1, "text")])

        assert run.outcomes() == {"1": ("failed", "rejected")}
        assert run.rows("select reworks, failed_stage, artifact_path from documents") == [(max_reworks, "review", None)]
        assert run.artifacts == {}
        (kept,) = run.rejected.values()
        assert kept.count("[") == max_reworks + 1
        assert len(run.events(Review)) == max_reworks + 1
        run.assert_accounted()


async def test_disapproval_without_rework_rejects_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A verdict counts also where the pipeline names no stage to go back to."""
    async with open_run(tmp_path, plan(write, _reviewing(99, rework_to=None, max_reworks=5), upper)) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "rejected")}
        assert len(run.rejected) == 1


async def test_last_verdict_of_a_stage_counts(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A stage that asks two reviewers may change its mind."""

    async def review(document: Document, context: StageContext) -> Document:
        context.review(approved=False)
        context.review(approved=True)
        return document

    async with open_run(tmp_path, plan(review)) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("succeeded", None)}
        assert [event.approved for event in run.events(Review)] == [False, True]


async def test_each_reviewer_has_its_own_reworks(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Being passed again because somebody else disapproved uses up none of a stage's own."""

    async def facts(document: Document, context: StageContext) -> Document:
        context.review(approved=context.cycle != 2)
        return document

    async def style(document: Document, context: StageContext) -> Document:
        context.review(approved=context.cycle != 1)
        return document

    stages = plan(
        write, PlannedStage(Stage("facts", facts), "write", 1), PlannedStage(Stage("style", style), "write", 1)
    )
    async with open_run(tmp_path, stages) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("succeeded", None)}
        assert run.rows("select reworks from documents") == [(2,)]


# --- deadlines ---------------------------------------------------------------------------------------------------


async def slow(document: Document, context: StageContext) -> Document:
    """Take a hundred seconds."""
    await trio.sleep(100)
    return document


async def slow_in_nursery(document: Document, context: StageContext) -> Document:
    """Fail while being cancelled, in a nursery: a group comes out in which nothing tells of the deadline."""

    async def fail() -> None:
        try:
            await trio.sleep(100)
        finally:
            msg = "while cleaning up"
            raise ValueError(msg)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        nursery.start_soon(trio.sleep_forever)
    return document


@pytest.mark.parametrize("rung", ["stage", "document"])
async def test_deadline_is_named(autojump_clock: MockClock, tmp_path: Path, rung: str) -> None:
    """Which rung of the ladder fired, its length, and where the document was."""
    timeouts: dict[str, Any] = {f"{rung}_timeout": 30}
    async with open_run(tmp_path, plan(slow), **timeouts) as run:
        await run.documents([entry(1)])

        assert trio.current_time() == 30
        assert run.outcomes() == {"1": ("failed", "deadline_exceeded")}
        (failure,) = run.events(PipelineFailure)
        assert f"the 30 s {rung} timeout ran out" in failure.error
        assert failure.stage == "slow"
        run.assert_accounted()


@pytest.mark.parametrize("lane", ["agent", "ask"])
async def test_pause_beyond_the_deadline_is_not_begun(autojump_clock: MockClock, tmp_path: Path, lane: str) -> None:
    """The gate knows the stage's deadline on both lanes: it fails at once instead of waiting for nothing."""

    async def wait(document: Document, context: StageContext) -> Document:
        if lane == "agent":
            await context.run_agent("writer", "Hi.")
        else:
            await context.ask("Hi.", role="writer")
        return document

    faults = [{"kind": "status", "status": 429, "retry_after": 90}]
    async with open_run(tmp_path, plan(wait), faults=faults, stage_timeout=60) as run:
        await run.documents([entry(1)])

        assert trio.current_time() == 0
        assert run.outcomes() == {"1": ("failed", "wait_beyond_deadline")}


async def test_each_stage_has_its_own_deadline(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It begins when the stage begins, cycle by cycle; the document's covers them all."""

    async def sixty(document: Document, context: StageContext) -> Document:
        await trio.sleep(60)
        return document

    stages = plan(Stage("a", sixty), Stage("b", sixty), Stage("c", sixty))
    async with open_run(tmp_path / "1", stages, stage_timeout=61) as run:
        await run.documents([entry(1)])
        assert run.outcomes() == {"1": ("succeeded", None)}
    async with open_run(tmp_path / "2", stages, stage_timeout=61, document_timeout=150) as run:
        await run.documents([entry(1)])
        assert run.outcomes() == {"1": ("failed", "deadline_exceeded")}
        assert run.events(PipelineFailure)[0].stage == "c"


async def test_failure_while_a_deadline_cancels_is_the_stages(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Trio takes the cancellation out of the group and leaves the error: one failed document, no crash."""
    async with open_run(tmp_path, plan(slow_in_nursery), stage_timeout=30) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "stage_failed")}
        assert [event.error_code for event in run.events(StageFinished)] == ["stage_failed"]
        assert "while cleaning up" in run.events(PipelineFailure)[0].error
        run.assert_accounted()


async def test_result_at_the_deadline_is_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Shielded work that comes to its end just after the deadline was paid for too."""

    async def late(document: Document, context: StageContext) -> Document:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)
        return document

    async with open_run(tmp_path, plan(late), stage_timeout=30) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("succeeded", None)}


async def test_agents_deadline_leaves_the_loop_to_a_stage_that_goes_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A stage may give an agent less time than it has itself, and try another."""

    async def twice(document: Document, context: StageContext) -> Document:
        with trio.move_on_after(10):
            await context.run_agent("writer", "Hang.")
        said = await context.run_agent("writer", "It works.")
        return document.with_text(said)

    faults = [{"kind": "hang", "match": {"contains": "Hang."}}]
    async with open_run(tmp_path, plan(twice), faults=faults) as run:
        await run.documents([entry(1)])

        assert "It works." in run.artifacts["1.md"]
        assert run.world.bridge.loops_opened == 1
        assert [(record.document_id, record.stage) for record in run.world.records] == [("1", "twice")] * 2
        run.assert_accounted()


# --- artifacts and the ledger ------------------------------------------------------------------------------------


async def test_artifact_that_can_not_be_written_fails_its_document(autojump_clock: MockClock, tmp_path: Path) -> None:
    """With the step it failed at; the stage results stay."""
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    async with open_run(tmp_path, plan(upper), artifacts=blocked) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "artifact_not_written")}
        assert run.rows("select failed_stage from documents") == [("write",)]
        assert len(run.rows("select * from stage_results")) == 1
        run.assert_accounted()


async def test_rejected_text_that_can_not_be_kept_still_ends_the_document(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The document fails either way; the reason is the one that can be mended."""
    (tmp_path / "rejected").write_text("no folder")
    async with open_run(tmp_path, plan(_reviewing(99, max_reworks=0))) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "artifact_not_written")}


async def test_half_characters_are_no_reason_to_fail(autojump_clock: MockClock, tmp_path: Path) -> None:
    """JSON may hold them; they are replaced on disk."""
    async with open_run(tmp_path, plan(upper)) as run:
        await run.documents([entry(1, "tide \ud800 and \udfff")])

        assert run.outcomes() == {"1": ("succeeded", None)}
