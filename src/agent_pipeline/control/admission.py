"""What one attempt needs before it may be sent, all of it at one instant: a place, no pause, rate and budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from agent_pipeline.control.bell import Bell
from agent_pipeline.control.budget import (
    Budget,
    Hold,
    RunBudget,
    ask_for_more,
    find_shortages,
    hold_nowait,
    hold_regardless,
)
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.lane import Lane
from agent_pipeline.control.line import Place, WaitIsTooLongError
from agent_pipeline.control.recovery import Health
from agent_pipeline.control.refusal import refusal
from agent_pipeline.domain.usage import WaitReason
from agent_pipeline.errors import ProviderError, WaitTooLongError


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
        self._bell = Bell(self.wake_budget_waiters)

    def wake_budget_waiters(self) -> None:
        """Let all who wait for budget look again."""
        self._budget_freed.unpark_all()

    async def commit(self, role: str, owner: Budget | None, *, tokens: int, micro_usd: int) -> Hold:
        """Wait until so much fits, and hold it; no place, no rate. Always a checkpoint.

        Raises:
            BudgetExceededError: it can't fit any more.
            DocumentBudgetExceededError: it can't fit into what its document has left.
        """
        budgets = self._budget.concerning(role, owner)
        await trio.lowlevel.checkpoint()
        with self._bell.listening(budgets):
            while (hold := hold_nowait(budgets, tokens=tokens, micro_usd=micro_usd)) is None:
                if shortages := find_shortages(budgets, tokens=tokens, micro_usd=micro_usd):
                    raise refusal(role, shortages)
                ask_for_more(budgets, tokens=tokens, micro_usd=micro_usd)
                await self._budget_freed.park()
        return hold

    def take_over(self, role: str, owner: Budget | None, *, tokens: int, micro_usd: int) -> Hold:
        """Hold so much for work that is under way already, whether or not it fits."""
        return hold_regardless(self._budget.concerning(role, owner), tokens=tokens, micro_usd=micro_usd)

    async def admit(self, call: Call, lane: Lane, health: Health, attempt: Attempt, *, again: bool) -> Permit:
        """Wait for all that one attempt needs; always a checkpoint. On error and cancellation nothing is held.

        Args:
            call: what is asked for.
            lane: the call's.
            health: of the lane's provider.
            attempt: its `waits` take the seconds waited, by reason.
            again: for an attempt that was admitted before and could not be sent; it goes before all others.

        Raises:
            ProviderError: the lane was closed.
            BudgetExceededError: the worst case can't fit any more.
            DocumentBudgetExceededError: it can't fit into what its document has left.
            LLMBudgetExceededError: nor into what a tracker that the caller brought along has left.
            WaitTooLongError: a wait would outlast the deadline of the stage, document or run.
        """
        lane.check_open()
        tokens, micro_usd = call.worst_case()
        wanted = _Wanted(call, self._budget.concerning(call.role, call.scope.budget), tokens, micro_usd)
        check_wait(call, lane.not_before(tokens), None)
        await trio.lowlevel.checkpoint()
        while True:
            while await health.hold_back(attempt):
                lane.check_open()
            permit = await self._hold(wanted, lane, attempt.waits, had_its_turn=again)
            # The breaker may have opened while something else was waited for.
            if health.breaker.let_go(attempt, trio.current_time()):
                return permit
            permit.budget.release()
            lane.release(permit.place)
            self.wake_budget_waiters()
            again = True

    async def _hold(
        self, wanted: "_Wanted", lane: Lane, waits: dict[WaitReason, float], *, had_its_turn: bool
    ) -> Permit:
        place = lane.acquire_nowait(wanted.tokens)
        while True:
            if place is None:
                wanted.check()  # no wait for a place would change that
                place = await _wait_for_place(wanted.call, lane, wanted.tokens, waits, first=had_its_turn)
            hold = await self._reserve(wanted, lane, place, waits)
            if hold is not None:
                return Permit(lane, place, hold)
            place, had_its_turn = None, True

    async def _reserve(
        self, wanted: "_Wanted", lane: Lane, place: Place, waits: dict[WaitReason, float]
    ) -> Hold | None:
        """Hold the worst case; None, and no place, where a pause or the rate speaks against it by then."""
        try:
            hold = wanted.hold_nowait() or await self._wait_for_budget(wanted, lane, place, waits)
        except BaseException:
            lane.release(place)
            raise
        if hold is None:
            lane.release(place)
        return hold

    async def _wait_for_budget(
        self, wanted: "_Wanted", lane: Lane, place: Place, waits: dict[WaitReason, float]
    ) -> Hold | None:
        with self._bell.listening(wanted.budgets):
            while (hold := wanted.hold_nowait()) is None:
                wanted.check()
                lane.suspend(place)
                wanted.ask_for_more()
                begun = trio.current_time()
                await self._budget_freed.park()
                waits["budget"] = waits.get("budget", 0.0) + trio.current_time() - begun
                lane.check_open()
                if not lane.resume_nowait(place):
                    break
        return hold


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The worst case of one call, and the budgets it is held on."""

    call: Call
    budgets: Sequence[Budget]
    tokens: int
    micro_usd: int

    def hold_nowait(self) -> Hold | None:
        if self.tokens == self.micro_usd == 0:
            # Asking about a batch costs nothing, also where the batch itself has used up all there is.
            return hold_regardless(self.budgets, tokens=0, micro_usd=0)
        return hold_nowait(self.budgets, tokens=self.tokens, micro_usd=self.micro_usd)

    def ask_for_more(self) -> None:
        ask_for_more(self.budgets, tokens=self.tokens, micro_usd=self.micro_usd)

    def check(self) -> None:
        """Raise the error of a request that no other request's end would make room for."""
        if shortages := find_shortages(self.budgets, tokens=self.tokens, micro_usd=self.micro_usd):
            raise refusal(self.call.role, shortages)


def check_wait(call: Call, until: float, cause: ProviderError | None) -> None:
    """Raise an error if a wait until then would outlast the deadline of the stage, document or run."""
    now = trio.current_time()
    if until <= now:
        return
    deadline = _deadline(call)
    is_cancelled = deadline == -math.inf  # the next checkpoint says so; no pause is to blame
    if until < deadline or is_cancelled:
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
