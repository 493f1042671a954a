"""How often and after which pause a request is sent again; the only owner of that decision."""

import random
from dataclasses import dataclass
from typing import Literal

from agent_pipeline.errors import ModelProtocolError, ProviderError, RateLimitedError, ServerError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and pauses of one call.

    Attributes:
        max_attempts: attempts that may be used up; a 429 uses none.
        initial_delay: ceiling of the first pause, seconds.
        max_delay: ceiling of every pause, seconds; a provider may ask for a longer one.
        max_rate_limits: 429 answers in a row after which a call gives up.
        max_bad_answers: attempts that may end in a malformed answer; a model that answers wrongly twice will again.
    """

    max_attempts: int = 5
    initial_delay: float = 0.5
    max_delay: float = 60.0
    max_rate_limits: int = 50
    max_bad_answers: int = 2

    def delay(self, failures: int, rng: random.Random) -> float:
        """Return the pause after the given number of failures, in seconds.

        Full jitter: uniform between 0 and `min(initial_delay * 2**(failures - 1), max_delay)` (Marc Brooker,
        "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        """
        ceiling = min(self.initial_delay * 2 ** min(failures - 1, 60), self.max_delay)
        return rng.uniform(0, ceiling)


class Retries:
    """What one call has used up of its policy.

    Attributes:
        number: of the next attempt, from 1; a 429 does not raise it.
    """

    def __init__(self, policy: RetryPolicy, rng: random.Random) -> None:
        self.number = 1
        self._policy = policy
        self._rng = rng
        self._rate_limits_in_a_row = 0
        self._bad_answers = 0

    def spend(self, error: ProviderError) -> bool:
        """Count the attempt that ended with `error`; tell whether there may be another."""
        if error.disposition != "retry":
            return False
        if isinstance(error, RateLimitedError):
            self._rate_limits_in_a_row += 1
            return self._rate_limits_in_a_row <= self._policy.max_rate_limits
        self._rate_limits_in_a_row = 0
        self._bad_answers += isinstance(error, ModelProtocolError)
        self.number += 1
        return self.number <= self._policy.max_attempts and self._bad_answers < self._policy.max_bad_answers

    def pause(self, error: ProviderError) -> tuple[float, Literal["backoff", "retry_after"]]:
        """Return the seconds to wait after `error` was counted, and who wants them.

        What the provider asks for is a floor: one that keeps saying "in 0 seconds" is not asked in a hot loop.
        """
        backoff = self._policy.delay(self._rate_limits_in_a_row or self.number - 1, self._rng)
        asked = error.retry_after if isinstance(error, RateLimitedError | ServerError) else None
        return (backoff, "backoff") if asked is None or asked <= backoff else (asked, "retry_after")
