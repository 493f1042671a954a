"""Those who wait for a place in a lane: in turn, with the reason of each wait, and no task of its own."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from agent_pipeline.control.fair_queue import FairQueue
from agent_pipeline.domain.usage import WaitReason


@dataclass(slots=True, eq=False)
class Place:
    """One request's place in flight.

    Attributes:
        tokens: its worst case, counted per minute.
        number: of the request in its lane.
        in_flight: requests in flight when it got the place, itself included.
        epoch: of the cooldown whose permission it has.
        is_probe: whether all others wait for its ending.
        taken_at: on Trio's clock.
        is_suspended: whether it waits for something else, with no permission to send.
    """

    tokens: int
    number: int = 0
    in_flight: int = 0
    epoch: int = 0
    is_probe: bool = False
    taken_at: float = 0.0
    is_suspended: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the next in turn can't go.

    Attributes:
        reason: what stands in the way.
        until: nothing can change that earlier; -inf where something may at any time.
        look_again_at: where something may, when time alone changes it; inf for never.
    """

    reason: WaitReason
    until: float = -math.inf
    look_again_at: float = math.inf


class WaitIsTooLongError(Exception):
    """The next place comes at `until` or later, after the caller's deadline; the gate says so in its own words."""

    def __init__(self, until: float) -> None:
        super().__init__(until)
        self.until = until


@dataclass(slots=True, eq=False)
class _Waiter:
    """Who waits for a place.

    Attributes:
        since: seconds the line had been held up for each reason when it came.
        outcome: a place; or when the wait would end, after the waiter's deadline; None while it waits.
        wake_at: when it looks after the line; only the next in turn does.
    """

    document_id: str | None
    tokens: int
    deadline: float
    since: dict[WaitReason, float]
    outcome: Place | float | None = None
    wake_at: float = math.inf
    scope: trio.CancelScope | None = None
    event: trio.Event = field(default_factory=trio.Event)

    def set_alarm(self, at: float) -> None:
        """Wake it at that time; inf for never."""
        self.wake_at = at
        if self.scope is not None:
            self.scope.deadline = at


class Line:
    """A waiting line, fair over documents.

    The next in turn keeps the time for all: it sleeps to the moment when the answer may change. Cancelled, it hands
    that on.

    Args:
        take: gives a place to a request of so many tokens, or says what stands in the way. Never a checkpoint.
        drop: takes such a place back.
    """

    def __init__(self, take: Callable[[int], Place | Obstacle], drop: Callable[[Place], None]) -> None:
        self._take = take
        self._drop = drop
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._timekeeper: _Waiter | None = None
        self._held_up: dict[WaitReason, float] = {"admission": 0.0, "budget": 0.0, "cooldown": 0.0, "rate": 0.0}
        self._reason: WaitReason = "admission"
        self._reason_since = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    async def wait(
        self, document_id: str | None, *, tokens: int, deadline: float, waits: dict[WaitReason, float], first: bool
    ) -> Place:
        """Wait for a place; cancelled, nothing is held.

        Args:
            document_id: documents get their turns one after the other.
            tokens: the request's worst case.
            deadline: on Trio's clock; no wait that is known to outlast it is begun, or gone on with.
            waits: takes the seconds waited, by reason.
            first: before all others, for one that had its turn and could not use it.

        Raises:
            WaitIsTooLongError: as soon as that is known.
        """
        waiter = _Waiter(document_id, tokens, deadline, self._seconds())
        (self._queue.add_first if first else self._queue.add)(document_id, waiter)
        try:
            self.move_on()
            await self._sleep(waiter)
        except BaseException:
            if isinstance(waiter.outcome, Place):
                self._drop(waiter.outcome)
            elif waiter.outcome is None:
                self._remove(waiter)
                self.move_on()
            raise
        finally:
            for reason, seconds in self._seconds().items():
                if seconds > waiter.since[reason]:
                    waits[reason] = waits.get(reason, 0.0) + seconds - waiter.since[reason]
        if isinstance(waiter.outcome, Place):
            return waiter.outcome
        raise WaitIsTooLongError(waiter.outcome or 0.0)

    def move_on(self) -> None:
        """Let in whoever may go, in turn; see to it that somebody wakes when time alone may change the answer."""
        while self._queue:
            waiter = self._queue.first()
            given = self._take(waiter.tokens)
            if isinstance(given, Place):
                self._queue.pop()
                self._answer(waiter, given)
                continue
            now = trio.current_time()
            self._count(now)
            self._reason = given.reason
            if given.until > now and -math.inf < waiter.deadline <= given.until:  # -inf: it is being cancelled
                self._remove(waiter)
                self._answer(waiter, given.until)
                continue
            if self._timekeeper is not None and self._timekeeper is not waiter:
                self._timekeeper.set_alarm(math.inf)
            self._timekeeper = waiter
            waiter.set_alarm(given.until if given.until > now else given.look_again_at)
            return

    def refuse_impatient(self, until: float) -> None:
        """Send away who can't wait until then."""
        for waiter in [one for one in self._queue if -math.inf < one.deadline <= until]:
            self._remove(waiter)
            self._answer(waiter, until)

    def send_all_away(self) -> None:
        """Leave nobody waiting."""
        while self._queue:
            self._answer(self._queue.pop(), math.inf)

    async def _sleep(self, waiter: _Waiter) -> None:
        while waiter.outcome is None:
            with trio.CancelScope(deadline=waiter.wake_at) as waiter.scope:
                await waiter.event.wait()
            waiter.scope = None
            if waiter.outcome is None:  # the alarm
                waiter.wake_at = math.inf
                self.move_on()

    def _remove(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter.document_id, waiter)
        if self._timekeeper is waiter:
            self._timekeeper = None

    def _answer(self, waiter: _Waiter, outcome: Place | float) -> None:
        if self._timekeeper is waiter:
            self._timekeeper = None
        waiter.outcome = outcome
        if isinstance(outcome, Place):
            waiter.event.set()
        elif waiter.scope is not None:
            waiter.scope.cancel()  # so that a cancellation from outside at the same instant comes first

    def _count(self, now: float) -> None:
        self._held_up[self._reason] += now - self._reason_since
        self._reason_since = now

    def _seconds(self) -> dict[WaitReason, float]:
        self._count(trio.current_time())
        return self._held_up.copy()
