"""A call cancelled at each scheduler step it takes, before and after it: nothing leaks, everything is recorded."""

from dataclasses import dataclass

import pytest
import trio
from tests.control.world import WORST, World, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import ConnectionLostError, ModelProtocolError, RateLimitedError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step

USAGE = Usage(2, 2)


class StepCounter(trio.abc.Instrument):
    """Counts one task's steps and cancels a scope at one of them.

    Args:
        at: the step, from 1.
        early: cancel when the step is about to run (what it waited for has just come), else when it has run.
    """

    def __init__(self, scope: trio.CancelScope, *, at: int, early: bool) -> None:
        self._scope, self._at, self._early = scope, at, early
        self.steps = 0
        self.task: trio.lowlevel.Task | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and cancel early."""
        if task is self.task:
            self.steps += 1
            if self._early and self.steps == self._at:
                self._scope.cancel()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Cancel late."""
        if task is self.task and not self._early and self.steps == self._at:
            self._scope.cancel()


@dataclass
class Trial:
    """What became of one cancelled call."""

    world: World
    provider: ScriptedProvider
    answer: str | None
    was_cancelled: bool
    reached_its_step: bool


def crowded() -> tuple[World, ScriptedProvider]:
    """Return a world in which a call meets every wait: admission, budget, cooldown, backoff, retry-after."""
    world = make_world(tokens=10 * WORST, in_flight=1, attempt_timeout=50)
    provider = ScriptedProvider(
        Step(error=RateLimitedError("slow down", retry_after=3), latency=1),
        Step(error=ServerError("busy", status_code=503, retry_after=9), connecting=1),
        Step(error=ConnectionLostError("reset"), latency=1),
        Step(latency=60),
        Step(error=ModelProtocolError("empty"), usage=USAGE),
        Step(usage=USAGE, connecting=1, latency=1),
    )
    return world, provider


async def run_trial(at: int, *, early: bool) -> Trial:
    """Cancel the call at its step `at`."""
    world, provider = crowded()
    place_holder, hog = ScriptedProvider(Step(usage=USAGE, latency=2)), ScriptedProvider(Step(usage=USAGE, latency=5))
    everything_but = make_call(model="large", input_tokens_bound=9 * WORST, output_tokens_cap=1)
    scope = trio.CancelScope()
    counter = StepCounter(scope, at=at, early=early)
    answer: str | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=0), place_holder.send)
        nursery.start_soon(world.gate.call, everything_but, hog.send)
        await wait_all_tasks_blocked()
        counter.task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(counter)
        with scope:
            answer = await world.gate.call(make_call(scope=CallScope("ours")), provider.send)
        trio.lowlevel.remove_instrument(counter)
    return Trial(world, provider, answer, scope.cancelled_caught, counter.steps >= at)


def check_trial(trial: Trial) -> None:
    """What has to hold wherever the call was cut off."""
    trial.world.assert_nothing_is_held()
    assert (trial.answer is None) == trial.was_cancelled
    ours = [record for record in trial.world.records if record.document_id == "ours"]
    assert [record.number for record in ours] == [number for number, _ in trial.provider.attempts]
    outcomes = [record.outcome for record in ours]
    assert "cancelled" not in outcomes[:-1]
    for record in ours:
        reported = 0 if record.usage is None else record.usage.total_tokens
        assert record.charged_tokens in {0, reported, WORST}
        assert record.sent or record.charged_tokens == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_call_cancelled_at_any_step_leaves_nothing_behind(early: bool) -> None:  # noqa: FBT001
    """No hold, no place, one record per attempt that was made, and the gate still works."""
    trials: list[Trial] = []

    async def main(at: int) -> None:
        trial = await run_trial(at, early=early)
        check_trial(trial)
        assert await trial.world.gate.call(make_call(), ScriptedProvider(Step(usage=USAGE)).send) == "done"
        trials.append(trial)

    while not trials or trials[-1].reached_its_step:
        trio.run(main, len(trials) + 1, clock=MockClock(autojump_threshold=0))

    assert trials[-1].answer == "done"
    whole = [record for record in trials[-1].world.records if record.document_id == "ours"]
    assert [record.wait_reason for record in whole] == ["budget", "cooldown", "retry_after", *["backoff"] * 3]
    # The sweep cut it off before, between and within all six attempts, with bytes sent and without.
    cut = [trial for trial in trials if trial.was_cancelled]
    assert {len(trial.provider.attempts) for trial in cut} == set(range(7))
    ends = [record for trial in cut for record in trial.world.records if record.outcome == "cancelled"]
    assert {record.sent for record in ends} == {True, False}
