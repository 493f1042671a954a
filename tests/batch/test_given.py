"""What is given wrongly is refused as it is given, in words that name it; nothing is sent."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from agents import Agent
from tests.batch.flavours import Flavour, answers, both, item, mock_items, run

from agent_pipeline.batch import (
    LLMWorkItem,
    Middleware,
    MockAgent,
    ParallelBatchProcessor,
    ProcessorConfig,
    ProcessorObserver,
)
from agent_pipeline.batch.results import BatchResult
from agent_pipeline.errors import BatchClosedError, CallFailedError

Processor = ParallelBatchProcessor[None, str, object]


def plain(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
    return "done", {}


def yields(attempt: int, timeout: float) -> Iterator[str]:
    yield "done"


async def yields_later(attempt: int, timeout: float) -> AsyncIterator[str]:
    yield "done"


class Awaited:
    """As what a call of a coroutine function returns."""

    def __await__(self) -> Iterator[None]:
        yield None


class Silent:
    """An agent that can't be asked."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agent": "gpt"}, r"item 'a': agent is an agent, or anything with `async def run\(self, prompt\)`, not 'gpt'"),
        ({"agent": Silent()}, "not Silent"),
        ({"agent": MockAgent}, r"agent is an agent, not the class MockAgent; make one: MockAgent\(...\)"),
        ({"agent": Agent}, "not the class Agent"),
        ({"direct_call": "gpt"}, "item 'a': direct_call is a function, not 'gpt'"),
        ({"direct_call": Awaited()}, "direct_call is an async function, not what a call of it returned"),
        ({"direct_call": yields}, "direct_call is an async function, not one that yields"),
        ({"direct_call": yields_later}, "direct_call is an async function, not one that yields"),
        ({"agent_factory": MockAgent()}, "agent_factory is a function, not MockAgent"),
        ({"agent": MockAgent(), "prompt": ["x"]}, "item 'a': prompt is a text, not list"),
        ({"agent": MockAgent(), "lane": 3}, "item 'a': lane is a text, not 3"),
    ],
)
def test_an_item_says_what_is_wrong(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        LLMWorkItem("a", **given)


def test_an_agent_of_the_sdk_is_one() -> None:
    """It has no `run` of its own."""
    LLMWorkItem("a", agent=Agent(name="writer"), prompt="Hi")


@both
def test_what_can_only_be_known_by_a_call_fails_its_item_in_words(flavour: Flavour) -> None:
    """A plain function may return something to await, and a factory anything."""
    items = [
        item("at once", plain),  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
        LLMWorkItem[None, str, object]("made", agent_factory=lambda _attempt: "gpt"),
        LLMWorkItem[None, str, object]("nothing", agent_factory=lambda _attempt: None),
        item("awaited", partial(lambda call, *given: call(*given), answers())),
    ]

    no_agent = "what agent_factory made: agent is an agent, or anything with `async def run(self, prompt)`, not"
    results = run(flavour, lambda: Processor().process_all(items)).results

    assert [one.error for one in results] == [
        "TypeError: direct_call is an async function; this one returned tuple at once",
        f"TypeError: {no_agent} 'gpt'",
        f"TypeError: {no_agent} None",
        None,
    ]


@both
def test_items_are_items(flavour: Flavour) -> None:
    """Refused wherever they are added; those before them are worked on."""
    agent = MockAgent()

    async def scenario() -> BatchResult[str, object]:
        processor = Processor()
        wrong: Any = "x"
        with pytest.raises(TypeError, match=r"^items are LLMWorkItem, not str$"):
            await processor.add_work(wrong)
        for source, what in (("x", "str"), (5, "int"), (mock_items(1)[0], "LLMWorkItem"), ({}, "dict")):
            unusable: Any = source
            with pytest.raises(TypeError, match=f"a list, or any other source, of LLMWorkItem is wanted, not {what}"):
                await processor.process_all(unusable)
        async with processor:
            with pytest.raises(TypeError, match="items are LLMWorkItem, not str"):
                await processor.add_work(wrong)
            with pytest.raises(TypeError, match="items are LLMWorkItem, not str"):
                await processor.add_work_from([*mock_items(1, agent), wrong])
            with pytest.raises(TypeError, match="items are LLMWorkItem, not int"):
                await processor.process_all([5])  # type: ignore[list-item]  # ty: ignore[invalid-argument-type]
            return processor.partial_result()

    result = run(flavour, scenario)

    assert (result.total_items, result.succeeded, agent.calls) == (1, 1, 1)


def test_a_config_comes_alone() -> None:
    """Also beside a value that is the default."""
    for own in ({"max_workers": 5}, {"timeout_per_item": 120.0}, {"timeout_per_item": None}):
        given: Any = own
        with pytest.raises(ValueError, match=f"{next(iter(own))} belong into the config"):
            ParallelBatchProcessor(ProcessorConfig(), **given)
    assert ParallelBatchProcessor().config == ProcessorConfig()
    assert ParallelBatchProcessor(timeout_per_item=None).config == ProcessorConfig(timeout_per_item=None)


class Progress(ProcessorObserver):
    """Sees nothing."""


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ((5,), {}, "config is a ProcessorConfig; max_workers=5 is a keyword"),
        ((5,), {"timeout_per_item": 3.0}, "config is a ProcessorConfig; max_workers=5 is a keyword"),
        (({"max_workers": 5},), {}, "config is a ProcessorConfig; not dict"),
        ((), {"post_processor": "print"}, "post_processor is a function, not 'print'"),
        ((), {"observers": Progress()}, "observers is a list of ProcessorObserver objects, not Progress"),
        ((), {"observers": [Progress]}, "observers holds ProcessorObserver objects, not the class Progress"),
        ((), {"observers": [print]}, "observers holds ProcessorObserver objects, not builtin_function_or_method"),
        ((), {"middleware": Middleware()}, "middleware is a list of Middleware objects, not Middleware"),
        ((), {"middleware": ["log"]}, "middleware holds Middleware objects, not 'log'"),
    ],
)
def test_a_processor_says_what_is_wrong(arguments: tuple[Any, ...], given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        ParallelBatchProcessor(*arguments, **given)


async def test_hooks_may_come_from_any_source() -> None:
    """One that can be read only once is read once."""
    seen: list[str] = []

    class Seeing(ProcessorObserver):
        def on_event(self, event: object) -> None:
            seen.append(type(event).__name__)

    given: Any = (one for one in [Seeing()])
    await Processor(observers=given).process_all(mock_items(1))

    assert seen.count("ItemCompleted") == 1


def test_codes_of_errors_of_ones_own_may_end_a_batch() -> None:
    """Items may raise them."""

    class OutOfPaperError(CallFailedError):
        code = "out_of_paper"

    assert ProcessorConfig(abort_on=(OutOfPaperError.code,)).abort_on == ("out_of_paper",)


@both
def test_an_ended_batch_says_so(flavour: Flavour) -> None:
    async def scenario() -> None:
        processor = Processor()
        await processor.process_all(mock_items(1))
        late = mock_items(1)
        again: list[Callable[[], Awaitable[object]]] = [
            lambda: processor.add_work(late[0]),
            lambda: processor.add_work_from(late),
            lambda: processor.process_all(late),
            lambda: processor.process_stream(late),
            lambda: processor.abort("too late"),
            processor.__aenter__,
        ]
        for call in again:
            with pytest.raises(BatchClosedError) as caught:
                await call()
            assert str(caught.value) == "this batch has ended; one processor is one batch, make a new one"

    run(flavour, scenario)


@both
def test_a_batch_is_opened_once(flavour: Flavour) -> None:
    async def scenario() -> None:
        async with Processor() as processor:
            with pytest.raises(BatchClosedError, match="this batch is open already"):
                await processor.__aenter__()

    run(flavour, scenario)
