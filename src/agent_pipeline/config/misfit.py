"""What pydantic found wrong with a value, in our words: the first misfit, and never the value itself."""

from typing import NamedTuple

from pydantic import ValidationError


class Misfit(NamedTuple):
    """Where a value does not fit, dotted and empty for the whole of it; and why."""

    place: str
    why: str


def first_misfit(exc: ValidationError) -> Misfit:
    """Return what is wrong first."""
    first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    return Misfit(".".join(map(str, first["loc"])), first["msg"])
