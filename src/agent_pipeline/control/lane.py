"""One lane per provider and model: requests in flight, the pause they share, and whether any may go at all."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from agent_pipeline.errors import ProviderError


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """A snapshot: requests in flight, the limit, callers waiting, seconds of cooldown left."""

    in_flight: int
    limit: int
    waiting: int
    cooldown: float


class Lane:
    """Bounds requests in flight first come, first served, and holds the cooldown all of them share.

    The lane owns the cooldown, not the task that met the 429: cancelling that task ends nobody's pause. It can be
    closed for good, and then whoever waits in it, or comes later, gets the error that closed it.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)
        self._not_before = -math.inf
        self._refusal: ProviderError | None = None
        self._waiting: set[trio.CancelScope] = set()

    def close(self, error: ProviderError) -> None:
        """Let nobody send any more, because of `error`; the first one stays the reason."""
        if self._refusal is None:
            self._refusal = error
            for scope in self._waiting:
                scope.cancel()

    def check_open(self) -> None:
        """Raise the error that closed the lane, as a fresh one that names the first as its cause."""
        first = self._refusal
        if first is not None:
            kind = type(first)
            again = kind.__new__(kind, *first.args)  # its own signature is not known here
            vars(again).update(vars(first))
            raise again from first

    def cool_down(self, delay: float) -> None:
        """Let nobody send for `delay` seconds from now; never shortens a longer pause."""
        self._not_before = max(self._not_before, trio.current_time() + delay)

    def cooldown_end(self) -> float:
        """When the pause ends, or ended, on Trio's clock; -inf where there was none yet."""
        return self._not_before

    async def wait_cooldown(self) -> None:
        """Sleep to the end of the pause as known now; it may grow meanwhile. Cancelling this ends nobody else's."""
        await self.sleep_until(self._not_before)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep while the lane is open; then raise what closed it."""
        with self._while_open():
            await trio.sleep_until(deadline)

    async def acquire(self, borrower: object) -> None:
        """Take one of the places in flight, or wait for one while the lane is open; cancelled, it holds none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._limiter.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            with self._while_open():
                await self._limiter.acquire_on_behalf_of(borrower)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    @contextmanager
    def _while_open(self) -> Generator[None]:
        """Break the one wait inside off when the lane is closed; one that was over before that stays as it ended."""
        self.check_open()
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            self.check_open()

    def release(self, borrower: object) -> None:
        """Give the place back."""
        self._limiter.release_on_behalf_of(borrower)

    def statistics(self) -> LaneStatistics:
        """Snapshot of the lane."""
        limiter = self._limiter.statistics()
        return LaneStatistics(
            in_flight=limiter.borrowed_tokens,
            limit=int(limiter.total_tokens),
            waiting=limiter.tasks_waiting,
            cooldown=max(0.0, self._not_before - trio.current_time()),
        )
