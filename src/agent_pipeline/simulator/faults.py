"""What is to go wrong: the faults file as values, validated strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from agent_pipeline.errors import ConfigError

_MAX_FILE_BYTES: Final = 1024 * 1024
_UNION_MEMBERS: Final = {"float", "constrained-float", "str", "constrained-str", "LatencyRange"}
_HEADER_VALUE: Final = r"^(?:[!-~](?:[ -~]*[!-~])?)?$"

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LatencyRange(_Strict):
    """Seconds, drawn evenly between `min` and `max` for each request."""

    min: Seconds
    max: Seconds

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Match(_Strict):
    """Which requests a fault is for; what is left out matches all.

    Attributes:
        path: the exact path, such as `/v1/responses`.
        model: the exact name of the model that is asked.
        contains: words that a message or instruction of the request contains.
    """

    path: str | None = None
    model: str | None = None
    contains: str | None = None


class _Fault(_Strict):
    """One way to fail, and when.

    Attributes:
        rate: share of the matching requests, drawn from the seed and the request, not from the order of arrival.
        script: numbers of the matching requests that fail, counted from 1 as they arrive; in the place of `rate`.
        match: which requests are meant.
    """

    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    script: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] | None = None
    match: Match = Match()

    @model_validator(mode="after")
    def _has_one_trigger(self) -> Self:
        if self.rate is not None and self.script is not None:
            raise ValueError("give rate or script, not both")
        return self


class StatusFault(_Fault):
    """An error status with an OpenAI-style body; `retry_after` is seconds or the raw text of the header."""

    kind: Literal["status"]
    status: Annotated[int, Field(ge=400, le=599)]
    retry_after: Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=_HEADER_VALUE)] | None = None
    code: str | None = None
    message: str | None = None
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Annotated[str, Field(pattern=_HEADER_VALUE)]] = (
        Field(default_factory=dict)
    )

    @model_validator(mode="after")
    def _leaves_framing_alone(self) -> Self:
        framing = {"connection", "content-length", "content-type", "transfer-encoding"}
        if taken := framing & {name.lower() for name in self.headers}:
            raise ValueError(f"the header {min(taken)} can't be set")
        return self


class BrokenReplyFault(_Fault):
    """A reply that never comes, breaks off, or is not what the API promises."""

    kind: Literal[
        "reset_before_body",
        "reset_mid_body",
        "truncate_stream",
        "malformed_json",
        "html_200",
        "empty_object",
        "hang",
        "hang_mid_body",
    ]


class SlowDripFault(_Fault):
    """A whole reply that comes `bytes` at a time, `delay` seconds apart."""

    kind: Literal["slow_drip"]
    bytes: Annotated[int, Field(ge=1)] = 1
    delay: Seconds = 0.05


class LatencyFault(_Fault):
    """A whole reply that comes `delay` seconds later."""

    kind: Literal["latency"]
    delay: Seconds


Fault = Annotated[StatusFault | BrokenReplyFault | SlowDripFault | LatencyFault, Field(discriminator="kind")]


class FaultPlan(_Strict):
    """What is to go wrong; the default is nothing.

    Attributes:
        seed: drawn from in the place of the simulator's own seed.
        latency: seconds before each reply.
        chunk_delay: seconds between two events of a stream.
        faults: looked at in this order; the first that strikes is the one.
    """

    seed: int | None = None
    latency: Seconds | LatencyRange = 0.0
    chunk_delay: Seconds = 0.0
    faults: Annotated[tuple[Fault, ...], Field(strict=False)] = ()

    @classmethod
    def from_mapping(cls, data: Mapping[str, object], *, place: str = "") -> "FaultPlan":
        """Validate what a faults file holds.

        Raises:
            ConfigError: names the key and what is wrong with it; `place` is the file.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False)
            first = max(errors, key=lambda error: len(error["loc"]))  # the union member that was got furthest into
            raise ConfigError(_problem(str(first["msg"]), first["input"]), place=place, key=_key(first["loc"])) from exc

    @classmethod
    def load(cls, path: Path) -> "FaultPlan":
        """Read a faults file (YAML, so JSON too).

        Raises:
            ConfigError: it can't be read, is not YAML, or is not a valid plan.
        """
        return cls.from_mapping(_read(path), place=str(path))


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as exc:
        raise ConfigError(f"can't be read: {exc.strerror}", place=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8", place=str(path)) from exc
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError("is longer than 1 MiB", place=str(path))
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"is not YAML: {getattr(exc, 'problem', None) or exc}", place=place) from exc
    except (RecursionError, ValueError) as exc:
        raise ConfigError("is not YAML that can be read", place=str(path)) from exc
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError("must hold keys such as seed, latency and faults", place=str(path))
    return value


def _key(location: tuple[int | str, ...]) -> str:
    """Return a key path, without the names pydantic adds for the member of a union it tried."""
    parts = [*location[:2], *location[3:]] if location[:1] == ("faults",) else [*location]
    return ".".join(str(part) for part in parts if part not in _UNION_MEMBERS and "[" not in str(part))


def _problem(message: str, given: object) -> str:
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | None) else ""
    return message.removeprefix("Value error, ") + shown
