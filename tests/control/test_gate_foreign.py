"""What is no error of ours: bugs in a sender, interrupts, exits. They go out unchanged and leave nothing held."""

import pytest
import trio
from tests.control.world import WORST, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.domain.usage import Usage
from agent_pipeline.testing import ScriptedProvider, Step

FOREIGN = [
    KeyError("no such key"),
    KeyboardInterrupt(),
    SystemExit(3),
    ExceptionGroup("two", [KeyError(), ValueError()]),
]


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("reaches", [True, False])
async def test_a_foreign_exception_goes_out_unchanged_with_nothing_held(
    error: BaseException,
    reaches: bool,  # noqa: FBT001  (a parameter of the test)
    autojump_clock: MockClock,
) -> None:
    """A bug must look like one, once, and cost no more than the attempt it spoiled."""
    world = make_world(tokens=10 * WORST, in_flight=1)
    provider = ScriptedProvider(Step(error=error, latency=1, reaches=reaches, status_code=None))

    with pytest.raises(type(error)) as caught:
        await world.gate.call(make_call(), provider.send)

    assert caught.value is error
    assert len(provider.attempts) == 1
    (record,) = world.records
    assert (record.outcome, record.error_code, record.error) == ("failed", type(error).__name__, str(error))
    assert record.charged_tokens == (WORST if reaches else 0)
    world.assert_nothing_is_held()
    assert await world.gate.call(make_call(), ScriptedProvider(Step(usage=Usage(1, 1))).send) == "done"


async def test_a_bug_before_the_first_checkpoint_leaves_nothing_held(autojump_clock: MockClock) -> None:
    """Not even a coroutine came of it."""
    world = make_world(tokens=WORST, in_flight=1)

    def send(attempt: object) -> trio.abc.ReceiveStream:
        raise KeyError(attempt)

    with pytest.raises(KeyError):
        await world.gate.call(make_call(), send)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]

    world.assert_nothing_is_held()
