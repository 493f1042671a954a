"""How often and after which pause a request is sent again; the only owner of that decision."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and pauses of one call.

    Attributes:
        max_attempts: attempts that may be used up; a 429 uses none.
        initial_delay: ceiling of the first pause, seconds.
        max_delay: ceiling of every pause, seconds.
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
