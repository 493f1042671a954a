"""Room for one call on a shared tracker: taken before it begins, ended by what becomes of it."""

import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace

from agent_pipeline.adapters.values import LLMAnswer
from agent_pipeline.bridge import Wakeup, current_flavour
from agent_pipeline.control.charging import may_have_worked
from agent_pipeline.control.tracker import BudgetTracker, Reservation
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    CommandNotFoundError,
    LLMBudgetExceededError,
    LLMConfigError,
    LLMTimeoutError,
    ProviderError,
)

_is_inside: ContextVar[bool] = ContextVar("_is_inside", default=False)
"""Whether this code runs inside an adapter's call that holds room."""

_NOTHING_SENT = (LLMConfigError, CommandNotFoundError)


def may_wait() -> bool:
    """Tell whether a call made here may wait for room.

    One that is made inside another adapter's call may not: those it would wait for may wait for what its own caller
    holds. So whoever waits holds nothing, and no circle of waiting can come about.
    """
    return not _is_inside.get()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Room that one call needs.

    Attributes:
        timeout: seconds to wait for it; None waits as long as it takes.
        who: needs it, for messages.
    """

    tracker: BudgetTracker
    tokens: int
    timeout: float | None
    who: str

    def take(self) -> "tuple[Held, float | None]":
        """Take it, and return what is left of the timeout; this blocks the thread while others hold it.

        In a thread with an event loop it does not wait: those who hold it may be that loop's tasks.

        Raises:
            LLMBudgetExceededError: it does not fit, whatever becomes of what others hold; or not now, where this call
                may not wait. Nothing is held.
            LLMTimeoutError: others held it for too long; likewise.
        """
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        bell = threading.Event()
        self.tracker.watch(bell.set)
        try:
            while (held := self._take_nowait(may_wait=may_wait() and current_flavour() == "sync")) is None:
                if not bell.wait(_left(deadline)):
                    raise timed_out(self.who, self.timeout)
                bell.clear()
            return held, _left(deadline)
        finally:
            self.tracker.unwatch(bell.set)

    async def take_async(self) -> "Held":
        """Take it, under Trio or asyncio; no timeout of its own, errors as `take`; on cancellation nothing is held."""
        held = self._take_nowait(may_wait=may_wait())
        if held is not None:
            return held
        bell = Wakeup()
        self.tracker.watch(bell.ring)
        try:
            while (held := self._take_nowait(may_wait=may_wait())) is None:
                await bell.wait()
            return held
        finally:
            self.tracker.unwatch(bell.ring)

    def _take_nowait(self, *, may_wait: bool) -> "Held | None":
        reservation = self.tracker.reserve_nowait(self.tokens)
        if reservation is not None:
            return Held(self.tracker, reservation)
        if may_wait and self.tracker.could_fit(self.tokens):
            return None
        now = self.tracker.statistics()
        left = max(0, (now.total or 0) - now.spent)
        held = f" ({now.reserved:,} of them held by calls under way)" if now.reserved else ""
        raise LLMBudgetExceededError(
            f"the shared budget of {now.total or 0:,} tokens has {left:,} left{held}, and the "
            f"next call of {self.who} may use {self.tokens:,}; raise the budget to go on"
        )


def timed_out(who: str, timeout: float | None) -> LLMTimeoutError:
    """Return the error of a call that outlived its timeout."""
    return LLMTimeoutError(f"{who}: the {timeout or 0:g} s timeout of the call ran out", timeout=timeout or 0.0)


def _left(deadline: float | None) -> float | None:
    """Return the seconds to a deadline of `time.monotonic`, never quite none, since that is no timeout."""
    return None if deadline is None else max(0.001, deadline - time.monotonic())


class Held:
    """Room that is held; ended exactly once, by the call or by whoever sees that it will never begin."""

    def __init__(self, tracker: BudgetTracker, reservation: Reservation) -> None:
        self._tracker = tracker
        self._reservation = reservation
        self._claiming = threading.Lock()

    def release_unused(self) -> None:
        """Give it back unless the call has begun; from any thread."""
        if self._claiming.acquire(blocking=False):
            self._reservation.release()

    def around(self, call: Callable[[], LLMAnswer]) -> LLMAnswer:
        """Make the call in this thread and charge what it used.

        Raises:
            LLMTimeoutError: somebody gave up on it before it began; it was not made.
        """
        if not self._claiming.acquire(blocking=False):
            raise LLMTimeoutError("nobody waits for this call any more", timeout=0)
        token = _is_inside.set(True)
        try:
            answer = call()
        except BaseException as exc:
            self._fail(exc)
            raise
        finally:
            _is_inside.reset(token)
        return self._settle(answer)

    async def around_async(self, call: Callable[[], Awaitable[LLMAnswer]]) -> LLMAnswer:
        """Await the call and charge what it used; on cancellation all of it, as it may have been sent."""
        self._claiming.acquire(blocking=False)
        token = _is_inside.set(True)
        try:
            answer = await call()
        except BaseException as exc:
            self._fail(exc)
            raise
        finally:
            _is_inside.reset(token)
        return self._settle(answer)

    def _settle(self, answer: object) -> LLMAnswer:
        try:
            answer = checked_answer(answer)
        except TypeError:
            self._reservation.forfeit()
            raise
        if self._tracker in answer.charged_to:
            self._reservation.release()
            return answer
        if answer.usage is None:
            self._reservation.forfeit()
        else:
            self._reservation.settle(answer.usage.total_tokens)
        return replace(answer, charged_to=(*answer.charged_to, self._tracker))

    def _fail(self, error: BaseException) -> None:
        """Charge all, unless the error says that no model worked; see decision 0007."""
        refused = isinstance(error, ProviderError) and not may_have_worked(error)
        if refused or isinstance(error, _NOTHING_SENT):
            self._reservation.release()
        else:
            self._reservation.forfeit()


def checked_answer(answer: object) -> LLMAnswer:
    """Return what an adapter of somebody else's returns.

    Raises:
        TypeError: it is no answer, or none that can be charged.
    """
    if not isinstance(answer, LLMAnswer):
        msg = f"an adapter returns an LLMAnswer, not {type(answer).__name__}"
        raise TypeError(msg)
    problem = _problem_of(answer)
    if problem is not None:
        raise TypeError(problem)
    return answer


def _problem_of(answer: LLMAnswer) -> str | None:
    """Return what is wrong with an answer; None where it can be charged."""
    usage: object = answer.usage
    if usage is None:
        return None
    if not isinstance(usage, Usage):
        return f"an answer's usage is a Usage, not {type(usage).__name__}"
    counts: tuple[object, ...] = (usage.input_tokens, usage.output_tokens)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return f"an answer's usage counts tokens, which {usage} does not"
    return None
