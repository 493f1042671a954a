"""What workers report, as it is taken: what counts, and what does not."""

from collections import Counter
from pathlib import Path

from tests.engines.pretended import AT, entry
from tests.engines.world import open_run
from trio.testing import MockClock

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import DocumentStarted, Rework, StageStarted
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.messages import (
    Began,
    Ended,
    Fence,
    Happened,
    Rejected,
    Resulted,
    ShardDocument,
)
from agent_pipeline.errors import (
    DocumentRejectedError,
)


async def test_what_a_document_meets_again_elsewhere_is_told_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """`verify` counts one beginning and each rework once in a session."""
    async with open_run(tmp_path) as run:
        run.driver()
        await run.ledger.begin_document(
            document_id="1",
            position=1,
            source=None,
            content_sha256=None,
            plan_sha256=None,
            trace_id=None,
            started_at=AT,
        )
        book, fence = run.intake.book, Fence(1, 1)
        book.enter("2", 2)
        book.add([ShardDocument(entry(2))])
        book.deal(1)
        await run.intake.begin([Began(fence, "2", "0" * 64, "trace")])

        for event in 2 * [DocumentStarted("2", 2, None, 1), Rework("2", "b", "a", 1), Rework("2", "b", "a", 2)]:
            run.intake.take_event(Happened(event, AT))
        for event in 2 * [StageStarted("2", "a", 1)]:
            run.intake.take_event(Happened(event, AT))
        run.intake.take_event(Happened(DocumentStarted("1", 1, None, 1), AT))

        assert [event for event, _ in run.events] == [
            DocumentStarted("2", 2, None, 1),
            Rework("2", "b", "a", 1),
            Rework("2", "b", "a", 2),
            StageStarted("2", "a", 1),
            StageStarted("2", "a", 1),
        ]


async def test_a_rejected_text_is_kept_and_one_that_cant_be_is_the_documents_failure(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As where the document is worked on: the last text, or why there is none."""
    async with open_run(tmp_path) as run:
        run.driver()
        book, fence = run.intake.book, Fence(1, 1)
        for position in (1, 2):
            book.enter(str(position), position)
        book.add([ShardDocument(entry(1)), ShardDocument(entry(2))])
        book.deal(1)
        await run.intake.begin([Began(fence, one, "0" * 64, "trace") for one in "12"])
        told = ErrorRecord.of(DocumentRejectedError("stage b did not approve it"))

        def ended(position: int) -> Ended:
            counts = Counter[str]()
            return Ended(fence, position, str(position), None, "failed", told, "b", counts, counts)

        await run.intake.finish([Rejected(fence, Document("1", "last words")), ended(1)])
        (tmp_path / "rejected").rename(tmp_path / "elsewhere")
        (tmp_path / "rejected").write_text("no folder")
        await run.intake.finish([Rejected(fence, Document("2", "last words")), ended(2)])

        assert [one.read_text() for one in (tmp_path / "elsewhere").iterdir()] == ["last words"]
        assert run.outcomes() == {"1": ("failed", "rejected"), "2": ("failed", "artifact_not_written")}


async def test_late_results_and_beginnings_are_not_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Their fence counts no more."""
    async with open_run(tmp_path) as run:
        run.driver()
        book, fence = run.intake.book, Fence(1, 1)
        book.enter("1", 1)
        book.add([ShardDocument(entry(1))])
        book.deal(1)
        book.lose(1, {})
        book.deal(2)

        await run.intake.begin([Began(fence, "1", "0" * 64, "trace")])
        run.intake.take_result(Resulted(fence, StageResult("1", ResultKey("a", 1, "0"), "{}", AT, AT)))
        counts = Counter[str]()
        await run.intake.finish([Ended(fence, 1, "1", None, "succeeded", None, None, counts, counts)])

        assert run.rows("select * from documents") == run.rows("select * from stage_results") == run.events == []
        assert run.tally.taken == 0
