"""One value for each model that is asked: names come from outside, so there is an end to how many are kept apart."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

MOST_MODELS: Final = 1000
LONGEST_NAME: Final = 200
OTHERS: Final = "(others)"

T = TypeVar("T")


class PerModel(Generic[T]):
    """Values by model, made when they are first asked for.

    Attributes:
        values: by the first 200 characters of the name; those of models beyond the thousandth are one, `(others)`.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.values: dict[str, T] = {}

    def of(self, model: str) -> T:
        """Return the value of a model."""
        key = model[:LONGEST_NAME]
        if key not in self.values:
            key = key if len(self.values) < MOST_MODELS else OTHERS
            self.values.setdefault(key, self._make())
        return self.values[key]
