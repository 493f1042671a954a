"""Requests that keep failing while others pass: whether it is the request, or only bad luck."""

from dataclasses import dataclass

FAILURES = 3
"""Failures of one request with one class of error, at least, before it is called poisoned."""

LUCK = 0.0001
"""How likely a healthy request may be to fail that often by chance, at the rate at which others fail.

At one failure in twenty, three in a row come by chance once in 8,000 requests: three alone would drop healthy documents
of every large run. So three suffice where 20 others passed and none failed; where others fail now and then, it takes
four, or all attempts there are.
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How much had passed and failed at one moment."""

    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a request counts as poisoned: how often it failed, and how many others passed in the meantime."""

    failures: int
    passed: int


@dataclass(slots=True)
class _Suspect:
    since: Mark
    code: str = ""
    in_a_row: int = 0
    calls: int = 0


class Poison:
    """Watches one lane's requests by their fingerprints; keeps those only that have failed and not yet ended."""

    def __init__(self) -> None:
        self._passed = 0
        self._failed = 0
        self._suspects: dict[str, _Suspect] = {}

    def mark(self) -> Mark:
        """Return how things stand: what a call that begins now is measured from."""
        return Mark(self._passed, self._failed)

    def succeed(self, fingerprint: str) -> None:
        """Count a request that passed; one that did so once is not poisoned."""
        self._passed += 1
        suspect = self._suspects.get(fingerprint)
        if suspect is not None:
            suspect.in_a_row = 0

    def suspect(self, fingerprint: str, since: Mark) -> None:
        """Watch a request that failed for the first time in a call that began at `since`; ended by `forget`."""
        suspect = self._suspects.get(fingerprint)
        if suspect is None:
            self._failed += 1  # once per request, however often: many failures of few requests are not many that fail
            suspect = self._suspects[fingerprint] = _Suspect(since)
        suspect.calls += 1

    def fail(self, fingerprint: str, code: str) -> Evidence | None:
        """Count a failure of a watched request; return the evidence, where it is no bad luck any more."""
        suspect = self._suspects[fingerprint]
        suspect.in_a_row = suspect.in_a_row + 1 if suspect.code == code else 1
        suspect.code = code
        passed = self._passed - suspect.since.passed
        failed = self._failed - suspect.since.failed - 1  # itself
        if suspect.in_a_row < FAILURES or passed == 0:
            return None
        rate = (failed + 1) / (passed + failed + 2)  # Laplace's rule of succession
        return Evidence(suspect.in_a_row, passed) if rate**suspect.in_a_row <= LUCK else None

    def forget(self, fingerprint: str) -> None:
        """End the watch of one call; the last one takes the request out of memory."""
        suspect = self._suspects[fingerprint]
        suspect.calls -= 1
        if suspect.calls == 0:
            del self._suspects[fingerprint]

    def __len__(self) -> int:
        return len(self._suspects)
