"""What comes after an attempt that failed: another, a pause for all, or the end of the call, and with which error."""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import trio

from agent_pipeline.control.breaker import Breaker, BreakerState
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.poison import Evidence, Poison
from agent_pipeline.control.retry import Retries, RetryPolicy
from agent_pipeline.control.retry_budget import RetryBudget
from agent_pipeline.errors import (
    AttemptTimeoutError,
    ConnectionLostError,
    PoisonedError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RateLimitedError,
    ServerError,
    StreamBrokenError,
)

ErrorT = TypeVar("ErrorT", bound=ProviderError)

OnBreaker = Callable[[str, str, str, str], None]
"""Takes provider, model, the breaker's new state, and why."""

_PROVIDER_FAILURES = (ServerError, ProviderUnreachableError, ConnectionLostError, AttemptTimeoutError)
"""What a provider that is down looks like; all else is an answer, if not the one that was hoped for."""


class Health:
    """What the attempts of one provider and model say of it, and who has to wait because of that.

    Args:
        call: any of this provider and model.
        policy: the breaker's pauses follow its delays, without jitter.
        on_breaker: told of every change of the breaker; must not block or raise.
    """

    def __init__(self, call: Call, policy: RetryPolicy, on_breaker: OnBreaker | None = None) -> None:
        self.provider, self.model = call.provider, call.model
        self.budget = RetryBudget()
        self.poison = Poison()
        self.breaker = Breaker(
            first_pause=2 * policy.initial_delay, longest_pause=policy.max_delay, on_change=self._on_change
        )
        self._on_breaker = on_breaker
        self._changed = trio.lowlevel.ParkingLot()

    async def hold_back(self, attempt: Attempt) -> bool:
        """Wait for a change where nobody may send; tell whether this waited, and all has to be looked at anew.

        No checkpoint where the attempt may go. Nobody's waiting is another's: cancelling one ends no pause.
        """
        begun = trio.current_time()
        if self.breaker.let_go(attempt, begun):
            return False
        with trio.move_on_at(self.breaker.pause_end):
            await self._changed.park()
        attempt.waits["breaker"] = attempt.waits.get("breaker", 0.0) + trio.current_time() - begun
        return True

    def wake(self) -> None:
        """Let all who wait look again: the lane was closed, or the breaker has changed."""
        self._changed.unpark_all()

    def _on_change(self, state: BreakerState, reason: str) -> None:
        if state == "closed":
            self.budget.refill()
        self.wake()
        if self._on_breaker is not None:
            self._on_breaker(self.provider, self.model, state, reason)


class Recovery:
    """Decides for one call after each of its attempts; a context manager around all of them.

    However the call ends, also when it is cancelled, the breaker then waits for none of its attempts, and no
    fingerprint of it is kept.

    Attributes:
        attempt: the one under way; set anew for each.
    """

    def __init__(self, call: Call, health: Health, retries: Retries, attempt: Attempt) -> None:
        self.attempt = attempt
        self._call = call
        self._health = health
        self._retries = retries
        self._begun = health.poison.mark()
        self._fingerprint = call.fingerprint or f"call {id(self)}"
        self._is_suspect = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._health.breaker.leave(self.attempt, trio.current_time())
        if self._is_suspect:
            self._health.poison.forget(self._fingerprint)

    def succeed(self) -> None:
        """Take an answer."""
        self._health.breaker.answer(self.attempt)
        self._health.budget.succeed()
        self._health.poison.succeed(self._fingerprint)

    def fail(self, error: ProviderError) -> ProviderError | None:
        """Return the error the call ends with, None where there is another attempt.

        A failure that comes while the breaker is open, or opens it, ends no call: it is the provider's. The call waits
        for what becomes of the provider, and if that is nothing, it ends with `ProviderDownError`, as all do.
        """
        health, another = self._health, self._retries.spend(error)
        is_providers = isinstance(error, _PROVIDER_FAILURES)
        if is_providers:
            health.breaker.fail(self.attempt, self._call.scope.document_id, str(error), trio.current_time())
        else:
            health.breaker.answer(self.attempt, is_refusal=isinstance(error, RateLimitedError))
        if isinstance(error, RateLimitedError) or error.disposition != "retry":
            return None if another else error
        health.budget.fail()
        if health.breaker.state == "down":
            return self._down(error)
        if is_providers and health.breaker.is_tripped:
            return None
        evidence = None if isinstance(error, ProviderUnreachableError) else self._evidence(error)
        if evidence is not None:
            return self._poisoned(error, evidence)
        if another and not health.budget.grant(trio.current_time()):
            another = False
            error.args = (f"{error} (not tried again: too many requests to {self._call.provider} fail)",)
        return None if another else error

    def _evidence(self, error: ProviderError) -> Evidence | None:
        if not self._is_suspect:
            self._is_suspect = True
            self._health.poison.suspect(self._fingerprint, self._begun)
        return self._health.poison.fail(self._fingerprint, error.code)

    def _poisoned(self, error: ProviderError, evidence: Evidence) -> PoisonedError:
        msg = (
            f"the same request failed {evidence.failures} times with {error.code}, while {evidence.passed} others to "
            f"{self._call.provider} {self._call.model} passed; the last time: {error}"
        )
        return _because_of(error, PoisonedError(msg, status_code=error.status_code))

    def _down(self, error: ProviderError) -> ProviderDownError:
        call = self._call
        msg = (
            f"{call.provider} {call.model} fails for all: {self._health.breaker.reason}; "
            "resume the run when the provider is back"
        )
        return _because_of(error, ProviderDownError(msg, status_code=error.status_code))


def _because_of(cause: ProviderError, error: ErrorT) -> ErrorT:
    error.__cause__ = cause
    return error


def broken_stream(error: ProviderError) -> StreamBrokenError:
    """Return what becomes of an error after a part of the answer was handed on."""
    msg = f"the stream went wrong after its first part: {error}"
    broken = StreamBrokenError(msg, status_code=error.status_code)
    broken.__cause__ = error
    return broken
