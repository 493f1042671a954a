"""What one attempt needs before it may be sent, all of it at one instant: a place, no pause, rate and budget."""

import math
from dataclasses import dataclass

import trio

from agent_pipeline.control.budget import Dimension, Hold, RunBudget
from agent_pipeline.control.call import Call
from agent_pipeline.control.lane import Lane
from agent_pipeline.control.line import Place, WaitIsTooLongError
from agent_pipeline.domain.usage import Usage, WaitReason
from agent_pipeline.errors import BudgetExceededError, ProviderError, WaitTooLongError


@dataclass(frozen=True, slots=True)
class Permit:
    """What one attempt holds while it is sent."""

    lane: Lane
    place: Place
    budget: Hold


class Admission:
    """Admits attempts; nothing but a place is held while something else is waited for."""

    def __init__(self, budget: RunBudget) -> None:
        self._budget = budget
        self._budget_freed = trio.lowlevel.ParkingLot()

    def wake_budget_waiters(self) -> None:
        """Let all who wait for budget look again."""
        self._budget_freed.unpark_all()

    async def admit(self, call: Call, lane: Lane, waits: dict[WaitReason, float], *, again: bool) -> Permit:
        """Wait for all that one attempt needs; always a checkpoint. On error and cancellation nothing is held.

        Args:
            call: what is asked for.
            lane: the call's.
            waits: takes the seconds waited, by reason.
            again: for an attempt that was admitted before and could not be sent; it goes before all others.

        Raises:
            ProviderError: the lane was closed.
            BudgetExceededError: the worst case can't fit any more.
            WaitTooLongError: a wait would outlast the deadline of the stage, document or run.
        """
        lane.check_open()
        worst = Usage(call.input_tokens_bound, call.output_tokens_cap)
        tokens, micro_usd = worst.total_tokens, 0 if call.price is None else call.price.cost_micro_usd(worst)
        check_wait(call, lane.not_before(tokens), None)
        await trio.lowlevel.checkpoint()
        place = lane.acquire_nowait(tokens)
        had_its_turn = again
        while True:
            if place is None:
                self._check_budget(call, tokens, micro_usd)  # no wait for a place would change that
                place = await _wait_for_place(call, lane, tokens, waits, first=had_its_turn)
            hold = await self._reserve(call, lane, place, micro_usd, waits)
            if hold is not None:
                return Permit(lane, place, hold)
            place, had_its_turn = None, True

    async def _reserve(
        self, call: Call, lane: Lane, place: Place, micro_usd: int, waits: dict[WaitReason, float]
    ) -> Hold | None:
        """Hold the worst case; None, and no place, where a pause or the rate speaks against it by then."""
        try:
            while (hold := self._budget.reserve_nowait(tokens=place.tokens, micro_usd=micro_usd)) is None:
                self._check_budget(call, place.tokens, micro_usd)
                lane.suspend(place)
                begun = trio.current_time()
                await self._budget_freed.park()
                waits["budget"] = waits.get("budget", 0.0) + trio.current_time() - begun
                lane.check_open()
                if not lane.resume_nowait(place):
                    break
        except BaseException:
            lane.release(place)
            raise
        if hold is None:
            lane.release(place)
        return hold

    def _check_budget(self, call: Call, tokens: int, micro_usd: int) -> None:
        dimension = self._budget.never_fits(tokens=tokens, micro_usd=micro_usd)
        if dimension is not None:
            raise self._refusal(call, dimension, tokens if dimension == "tokens" else micro_usd)

    def _refusal(self, call: Call, dimension: Dimension, worst: int) -> BudgetExceededError:
        counted = (self._budget.tokens if dimension == "tokens" else self._budget.micro_usd).statistics()
        total = counted.total or 0
        unit = "tokens" if dimension == "tokens" else "micro-dollars"
        msg = (
            f"the budget of {total} {unit} has {max(0, total - counted.spent)} left, and the next request of role "
            f"{call.role} may cost {worst}; raise the budget to go on"
        )
        return BudgetExceededError(msg, dimension=dimension)


def check_wait(call: Call, until: float, cause: ProviderError | None) -> None:
    """Raise an error if a wait until then would outlast the deadline of the stage, document or run."""
    now, deadline = trio.current_time(), _deadline(call)
    is_cancelled = deadline == -math.inf  # the next checkpoint says so; no pause is to blame
    if until <= now or until < deadline or is_cancelled:
        return
    msg = (
        f"{call.provider} {call.model}: the next request may go in {until - now:.1f} s, but only "
        f"{max(0.0, deadline - now):.1f} s are left of the stage's, document's or run's timeout"
    )
    raise WaitTooLongError(msg) from cause


def _deadline(call: Call) -> float:
    return min(call.scope.deadline, trio.current_effective_deadline())


async def _wait_for_place(call: Call, lane: Lane, tokens: int, waits: dict[WaitReason, float], *, first: bool) -> Place:
    while True:
        try:
            return await lane.acquire(
                call.scope.document_id, tokens=tokens, deadline=_deadline(call), waits=waits, first=first
            )
        except WaitIsTooLongError as exc:
            until = exc.until
        check_wait(call, until, None)  # may say no, where the deadline was moved meanwhile
