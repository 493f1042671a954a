"""The faults file as a checked value: what is to go wrong, and how long everything takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from agent_pipeline.config.key_guard import shown
from agent_pipeline.config.source_map import KeyPath, SourceMap, load_source_map
from agent_pipeline.config.validation import wording
from agent_pipeline.simulator.faults import Fault, Seconds, Strict

_UNION_MEMBERS: Final = {"bool", "float", "constrained-float", "str", "constrained-str", "LatencyRange"}


class LatencyRange(Strict):
    """Seconds, drawn evenly between `min` and `max` for each request."""

    min: Seconds
    max: Seconds

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class FaultPlan(Strict):
    """What is to go wrong; the default is nothing.

    Attributes:
        seed: drawn from in the place of the simulator's own seed.
        latency: seconds before each reply.
        chunk_delay: seconds between two events of a stream.
        batch_delay: seconds until a batch is begun.
        batch_line_delay: seconds for each of its lines, one after the other; 0 for all at once.
        batch_expires: seconds after which a batch is over, come how far it has; None for a day.
        batch_queue: so many batches are taken on at once; others fail as soon as they are looked at. None for all.
        faults: looked at in this order; the first that strikes is the one.
    """

    seed: int | None = None
    latency: Seconds | LatencyRange = 0.0
    chunk_delay: Seconds = 0.0
    batch_delay: Seconds = 1.0
    batch_line_delay: Seconds = 0.0
    batch_expires: Seconds | None = None
    batch_queue: Annotated[int, Field(ge=0)] | None = None
    faults: Annotated[tuple[Fault, ...], Field(strict=False)] = ()

    @classmethod
    def from_mapping(cls, data: Mapping[str, object], *, place: str = "") -> "FaultPlan":
        """Validate what a faults file holds.

        Raises:
            ConfigError: names the key and what is wrong with it; `place` is what the mapping was read from.
        """
        return _validated(dict(data), SourceMap(name=place, text="", value=None))

    @classmethod
    def load(cls, path: Path) -> "FaultPlan":
        """Read a faults file (YAML, so JSON too).

        Raises:
            ConfigError: it can't be read, is not YAML, or is not a valid plan; it names line, column and key.
        """
        source = load_source_map(path)
        return _validated({} if source.value is None else source.value, source)


def _validated(value: object, source: SourceMap) -> FaultPlan:
    if not isinstance(value, dict):
        raise source.error("must hold keys such as seed, latency and faults")
    try:
        return FaultPlan.model_validate(value)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        first = max(errors, key=lambda error: len(error["loc"]))  # the union member that was got furthest into
        raise source.error(_problem(first), _path(first["loc"])) from None


def _path(location: tuple[int | str, ...]) -> KeyPath:
    """Return a key path, without the names pydantic adds for the member of a union it tried."""
    parts = [*location[:2], *location[3:]] if location[:1] == ("faults",) else [*location]
    return tuple(part for part in parts if part not in _UNION_MEMBERS and "[" not in str(part))


def _problem(error: ErrorDetails) -> str:
    given = error["input"]
    told = shown(given) if isinstance(given, str) else given
    words = f" (given: {told!r})" if isinstance(told, str | int | float | None) else ""
    return wording(error["type"], error["msg"], error.get("ctx", {})) + words
