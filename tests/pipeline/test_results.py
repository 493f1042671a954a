"""What stages return and raise: it fails their document, and nobody else's."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.pipeline.world import entry, open_run, plan, upper
from trio.testing import MockClock

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import (
    PipelineFailure,
    StageFinished,
)
from agent_pipeline.errors import (
    BudgetExceededError,
    RequestRejectedError,
)
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import PlannedStage, Stage


def _raising(error: BaseException) -> Stage:
    async def fail(document: Document, context: StageContext) -> Document:
        raise error

    return Stage("fail", fail)


def _returning(make: Callable[[Document], object]) -> Stage:
    async def give(document: Document, context: StageContext) -> Any:  # noqa: ANN401 - what must not be
        return make(document)

    return Stage("give", give)


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)
DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


def _changed(document: Document, **changes: Any) -> Document:  # noqa: ANN401 - what must not be
    return replace(document, **changes)


WRONG: dict[str, Callable[[Document], object]] = {
    "nothing": lambda _: None,
    "a text": lambda document: document.text,
    "another document": lambda document: _changed(document, id="other"),
    "a number id": lambda document: _changed(document, id=1),
    "text that is no text": lambda document: _changed(document, text=b"bytes"),
    "text that is nothing": lambda document: _changed(document, text=None),
    "a field that is no JSON": lambda document: _changed(document, fields={"x": object()}),
    "a set in a field": lambda document: _changed(document, fields={"x": {1}}),
    "a field that is not a number": lambda document: _changed(document, fields={"x": math.nan}),
    "keys that can't be sorted": lambda document: _changed(document, fields={"x": {1: 2, "1": 3}}),
    "a circle": lambda document: _changed(document, fields={"x": CIRCLE}),
    "a deep field": lambda document: _changed(document, fields={"x": DEEP}),
    "metadata that is no JSON": lambda document: _changed(document, metadata={"x": object()}),
    "a source that is no text": lambda document: _changed(document, source=Path("x")),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
async def test_stage_must_return_its_document(
    autojump_clock: MockClock, tmp_path: Path, make: Callable[[Document], object]
) -> None:
    """A wrong return value fails this document, at this stage, with a word on what was wrong; the others go on."""
    async with open_run(tmp_path, plan(_returning(make), upper)) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "stage_failed")}
        (failure,) = run.events(PipelineFailure)
        assert failure.stage == "give"
        assert "stage give " in failure.error
        assert [event.error_code for event in run.events(StageFinished)] == ["stage_failed"]
        assert run.rows("select * from stage_results") == []
        run.assert_accounted()


async def test_stage_that_is_no_coroutine_function_fails_its_document(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The message names the stage."""

    def plain(document: Document, context: StageContext) -> Any:  # noqa: ANN401 - what must not be
        return document

    async with open_run(tmp_path, plan(PlannedStage(Stage("plain", plain)))) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("failed", "stage_failed")}
        assert "stage plain " in run.events(PipelineFailure)[0].error


class _Mute(Exception):  # noqa: N818 - what users write
    def __str__(self) -> str:
        msg = "no words"
        raise RuntimeError(msg)


OURS = RequestRejectedError("no")
RAISED: dict[str, tuple[BaseException, str]] = {
    "value": (ValueError("x"), "stage_failed"),
    "assertion": (AssertionError(), "stage_failed"),
    "mute": (_Mute(), "stage_failed"),
    "stop": (StopAsyncIteration(), "stage_failed"),
    "exit": (SystemExit(3), "stage_failed"),
    "asyncio's": (asyncio.CancelledError(), "stage_failed"),
    "group": (ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x")])]), "stage_failed"),
    "group with exit": (BaseExceptionGroup("g", [SystemExit(3), ValueError("x")]), "stage_failed"),
    "ours": (OURS, "request_rejected"),
    "ours in groups": (ExceptionGroup("g", [ValueError("x"), ExceptionGroup("h", [OURS])]), "request_rejected"),
}


@pytest.mark.parametrize(("error", "code"), RAISED.values(), ids=RAISED)
async def test_whatever_a_stage_raises_fails_its_document_alone(
    autojump_clock: MockClock, tmp_path: Path, error: BaseException, code: str
) -> None:
    """One bad document never stops the others, and an exit called in a library is no exit of the run."""

    async def fail(document: Document, context: StageContext) -> Document:
        await trio.sleep(1)
        if document.id == "2":
            raise error
        await trio.sleep(1)
        return document

    async with open_run(tmp_path, plan(fail)) as run:
        await run.documents([entry(1), entry(2), entry(3)])

        assert run.outcomes() == {"1": ("succeeded", None), "2": ("failed", code), "3": ("succeeded", None)}
        (failure,) = run.events(PipelineFailure)
        assert (failure.document_id, failure.stage, failure.error_code) == ("2", "fail", code)
        codes = {event.document_id: event.error_code for event in run.events(StageFinished)}
        assert codes == {"1": None, "2": code, "3": None}
        assert run.stop.reason is None
        run.assert_accounted()


async def test_foreign_error_says_where_it_came_from(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Type, words, file and line: what one needs to find it without a traceback."""
    async with open_run(tmp_path, plan(_raising(ValueError("no such tide")))) as run:
        await run.documents([entry(1)])

        (failure,) = run.events(PipelineFailure)
        assert "stage fail raised ValueError: no such tide (test_results.py:" in failure.error


async def test_keyboard_interrupt_gets_out_with_a_record(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is the user's; every document still has its terminal record."""

    async def fail(document: Document, context: StageContext) -> Document:
        await trio.sleep(1)
        if document.id == "2":
            raise KeyboardInterrupt
        await trio.sleep(1)
        return document

    async with open_run(tmp_path, plan(fail)) as run:
        with pytest.raises(BaseExceptionGroup) as caught:
            await run.documents([entry(1), entry(2), entry(3)])

        assert caught.group_contains(KeyboardInterrupt)
        assert run.outcomes() == {str(number): ("cancelled", None) for number in (1, 2, 3)}
        run.assert_accounted()


@pytest.mark.parametrize("wrapped", [False, True])
async def test_error_that_ends_the_run_cancels_its_document(
    autojump_clock: MockClock, tmp_path: Path, *, wrapped: bool
) -> None:
    """The document is not to blame: resumed with a larger budget, it is done."""
    error: Exception = BudgetExceededError("spent", dimension="tokens")
    stage = _raising(ExceptionGroup("g", [error]) if wrapped else error)
    async with open_run(tmp_path, plan(stage)) as run:
        await run.documents([entry(1)])

        assert run.outcomes() == {"1": ("cancelled", "budget_exceeded")}
        assert run.stop.reason == "budget:tokens"
        assert run.events(PipelineFailure) == []
        run.assert_accounted()


async def test_document_that_can_not_be_hashed_fails_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A source of a user's own may put anything into metadata; it is this document's trouble, not the run's."""
    odd = _changed(Document("1", "text"), metadata={"x": DEEP})
    async with open_run(tmp_path, plan(upper)) as run:
        await run.documents([entry(1, document=odd), entry(2)])

        assert run.outcomes() == {"1": ("failed", "document_invalid"), "2": ("succeeded", None)}
        run.assert_accounted()
