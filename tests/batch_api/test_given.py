"""What is given wrongly is refused as it is given, in words that name it; the job's directory stays as it was."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.batch_api.world import items, job, options, runtime, simulator
from trio.testing import MockClock

from agent_pipeline.batch import BatchAPIProcessor, BatchRequest
from agent_pipeline.config.limits import BudgetConfig
from agent_pipeline.errors import BatchJobError


@pytest.mark.parametrize("item_id", ["", "  ", None, 3])
def test_a_request_needs_an_id(item_id: object) -> None:
    with pytest.raises(ValueError, match="item_id is a text that is not empty"):
        BatchRequest(item_id, "x")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompt": ["x"]}, "item 'a': prompt is a text, not list; a conversation is messages="),
        ({"messages": "hi"}, "item 'a': messages is a list of mappings, not 'hi'; a text is prompt="),
        ({"messages": ["hi"]}, "item 'a': messages is a list of mappings, not list"),
        ({"messages": {"role": "user"}}, "item 'a': messages is a list of mappings, not dict"),
        ({"prompt": "x", "params": 0.5}, "item 'a': params is a mapping, not 0.5"),
    ],
)
def test_a_request_says_what_is_wrong(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        BatchRequest("a", **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": 1000}, r"budget is a BudgetConfig of .*, such as BudgetConfig\(tokens=1000\), not 1000"),
        ({"limits": {"retry": {}}}, "limits is a LimitsConfig of agent_pipeline.config.limits, not dict"),
        ({"gateway": "open", "runtime": None}, "gateway is an open Gateway, not 'open'"),
        ({"endpoints": "local"}, "endpoints is a mapping"),
        ({"runtime": {"project": "p"}}, "runtime is a mapping; it goes through .*parse_runtime_config first"),
        ({"runtime": 5}, "runtime is a RuntimeConfig of agent_pipeline.llmhub, or the path of its file, not 5"),
        ({"post_processor": "print"}, "post_processor is a function, not 'print'"),
        ({"on_progress": "print"}, "on_progress is a function, not 'print'"),
        ({"read_answer": "text"}, "read_answer is a function, not 'text'"),
        ({"poll_intervall": 3}, "BatchAPIProcessor takes no 'poll_intervall'; did you mean 'poll_interval'?"),
    ],
)
def test_options_are_what_they_say(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    """Of a new job, and of one that is taken up again."""
    merged: Any = {"runtime": runtime(), **given}
    with pytest.raises(TypeError, match=words):
        BatchAPIProcessor(role="writer", directory=tmp_path / "job", **merged)
    with pytest.raises(TypeError, match=words):
        BatchAPIProcessor.resume(tmp_path, **merged)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"poll_interval": "1"}, "poll_interval is a positive number of seconds, not '1'"),
        ({"poll_interval": 0}, "poll_interval is a positive number of seconds, not 0"),
        ({"max_poll_interval": None}, "max_poll_interval is a positive number of seconds, not None"),
        ({"timeout": "60"}, "timeout is a number of seconds from 0, or None, not '60'"),
        ({"discount": "0.5"}, "a discount is a share from 0 to below 1, not '0.5'"),
        ({"max_requests": 0}, "max_requests is a whole number from 1, not 0"),
        ({"max_bytes": "1"}, "max_bytes is a whole number from 1, not '1'"),
    ],
)
def test_numbers_make_sense(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BatchAPIProcessor(role="writer", directory=tmp_path, runtime=runtime(), **given)


def test_a_role_is_given_by_its_name(tmp_path: Path) -> None:
    role: Any = None
    with pytest.raises(TypeError, match="role is the name of a role, not None"):
        BatchAPIProcessor(role=role, directory=tmp_path, runtime=runtime())


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    """A budget, a file's path, and nothing where nothing may be given."""
    BatchAPIProcessor[str, None](
        role="writer", directory=tmp_path, runtime="roles.yaml", budget=BudgetConfig(tokens=1000), timeout=None
    )
    BatchAPIProcessor[str, None](
        role="writer", directory=tmp_path, runtime=Path("roles.yaml"), budget=None, endpoints=None, poll_interval=1
    )


async def test_items_are_requests(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What was taken before stays."""
    wrong: Any = "x"
    async with job(tmp_path, simulator()) as processor:
        with pytest.raises(TypeError, match=r"^items are BatchRequest, not str$"):
            await processor.add_work(wrong)
        with pytest.raises(TypeError, match=r"^items are BatchRequest, not str$"):
            await processor.add_all([*items(1), wrong])
        with pytest.raises(TypeError, match="of BatchRequest is wanted, not str"):
            await processor.add_all(wrong)
        with pytest.raises(TypeError, match="of BatchRequest is wanted, not BatchRequest"):
            await processor.add_all(BatchRequest("a", "x"))  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
        result = await processor.process_all()

    assert [one.item_id for one in result.results] == ["item 0"]


async def test_a_job_without_items_is_refused_and_can_still_have_some(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whoever forgets to await `add_all` sees no success, and may go on, here or by a new processor."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        with pytest.raises(ValueError, match="no items were added; was `await` forgotten before add_all"):
            await processor.process_all()
    async with job(tmp_path, provider) as processor:
        with pytest.raises(ValueError, match="no items were added"):
            await processor.process_all()
        assert provider.statistics.requests == 0
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2


async def test_a_cancelled_job_without_items_has_no_results(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nothing was forgotten there."""
    async with job(tmp_path, simulator()) as processor:
        await processor.cancel()
        result = await processor.process_all()

    assert (result.results, result.termination) == ((), "cancelled")


async def test_a_directory_that_is_taken_is_told_with_both_ways_out(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with job(tmp_path, simulator()) as processor:
        await processor.add_all(items(1))
        await processor.process_all()

    with pytest.raises(BatchJobError, match=r"by BatchAPIProcessor\.resume, or give a new directory$"):
        async with job(tmp_path, simulator()):
            pass


def test_ordinary_code_adds_items_too(tmp_path: Path) -> None:
    """All of a job without an event loop, in a thread's own run."""
    given = options(simulator(), poll_interval=0.01)
    with BatchAPIProcessor[str, int](role="writer", directory=tmp_path, **given) as processor:
        processor.add_all_sync(items(150))
        with pytest.raises(TypeError, match=r"^items are BatchRequest, not int$"):
            processor.add_all_sync([5])  # type: ignore[list-item]  # ty: ignore[invalid-argument-type]
        with pytest.raises(TypeError, match=r"is read by `await ...add_all\(...\)`"):
            processor.add_all_sync(later())  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
        result = processor.process_all_sync()

    assert [one.context for one in result.results] == list(range(150))
    assert result.succeeded == 150


async def later() -> AsyncIterator[BatchRequest[int]]:
    """Yield a request, some time."""
    await trio.lowlevel.checkpoint()
    yield BatchRequest("a", "x")
