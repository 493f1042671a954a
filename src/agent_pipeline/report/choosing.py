"""Which documents a page of bounded size shows: what went wrong first, then the slowest, then a sample of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document as far as choosing needs it; `trouble` is whether it did not end well."""

    place: int
    trouble: bool
    seconds: float


def choose(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return at most `most`, in source order; all of them where they fit.

    Half of the places go to trouble, a quarter to the slowest of what is left, the others to an even sample.

    >>> documents = [Candidate(place, place == 7, -place) for place in range(100)]
    >>> [one.place for one in choose(documents, 8)]
    [0, 1, 2, 7, 16, 40, 64, 88]
    """
    if len(candidates) <= most:
        return list(candidates)
    chosen = {one.place for one in [one for one in candidates if one.trouble][: most // 2]}
    rest = sorted((one for one in candidates if one.place not in chosen), key=lambda one: -one.seconds)
    slowest = rest[: min(most // 4 + 1, most - len(chosen))]
    chosen.update(one.place for one in slowest)
    others = [one for one in candidates if one.place not in chosen]
    room = most - len(chosen)
    if room:
        # The middle of each of `room` equal parts, so that neither the beginning nor the end is preferred.
        chosen.update(others[(2 * part + 1) * len(others) // (2 * room)].place for part in range(room))
    return [one for one in candidates if one.place in chosen]
