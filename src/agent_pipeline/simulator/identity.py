"""Names and chances that depend on nothing but the seed, the request and how often that very request came."""

import hashlib
from dataclasses import dataclass
from typing import Final

from agent_pipeline.simulator.wire import SimulatorRequest

CREATED_AT: Final = 1_735_689_600
"""Every reply is dated 2025-01-01T00:00:00Z: the same request gets the same bytes, whenever it is sent."""

REMEMBERED: Final = 2**15
"""Requests of which it is known how often they came; the same one comes again soon, or hardly ever."""

_SUFFIX: Final = "-simulator"
_PIECE_CHARACTERS: Final = 40
_MOST_PIECES: Final = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """One request among all, whatever the order of arrival: equal requests differ by `ordinal` (from 1)."""

    seed: int
    digest: bytes
    ordinal: int

    def name(self, prefix: str) -> str:
        """Return an id that is unique to this request."""
        return f"{prefix}_{self._hash(prefix).hex()}"

    def chance(self, *purpose: object) -> float:
        """Return a number in [0, 1) that is drawn for this request and purpose."""
        return int.from_bytes(self._hash(repr(purpose))[:6]) / 2**48

    def _hash(self, purpose: str) -> bytes:
        text = f"{self.seed} {self.ordinal} {purpose}"
        return hashlib.blake2b(text.encode(), key=self.digest, digest_size=12).digest()


class Ordinals:
    """Tells the how many-th time the same request comes; one that has not come for long begins anew.

    What is remembered does not grow with the number of requests.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def next(self, digest: bytes) -> int:
        """Count a request; return 1 for the first."""
        ordinal = self._counts.pop(digest, 0) + 1
        self._counts[digest] = ordinal  # behind all others: the one that has not come for longest is the first
        if len(self._counts) > REMEMBERED:
            del self._counts[next(iter(self._counts))]
        return ordinal


def digest_of(request: SimulatorRequest) -> bytes:
    """Return what tells this request from others: method, path and body."""
    head = f"{request.method} {request.path}\n".encode("utf-8", "replace")
    return hashlib.blake2b(head + request.body, digest_size=16).digest()


def announced_model(model: str) -> str:
    """Return the model's name with the suffix that says who answers."""
    return model if model.endswith(_SUFFIX) else model + _SUFFIX


def pieces_of(text: str) -> list[str]:
    """Cut an answer into the pieces of a stream: at most 64, of 40 characters or more."""
    size = max(_PIECE_CHARACTERS, -(-len(text) // _MOST_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]
