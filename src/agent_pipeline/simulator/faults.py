"""What can go wrong: each kind of fault as a checked value."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_HEADER_VALUE: Final = r"^(?:[!-~](?:[ -~]*[!-~])?)?$"

Seconds = Annotated[float, Field(ge=0, le=86_400)]
RetryAfter = Seconds | bool
Count = Annotated[int, Field(ge=1, le=1_000_000_000_000)]


class Strict(BaseModel):
    """Base of all that a faults file holds: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Match(Strict):
    """Which requests a fault is for; what is left out matches all.

    Attributes:
        path: the exact path, such as `/v1/responses`.
        model: the exact name of the model that is asked.
        contains: words that a message or instruction of the request contains.
    """

    path: str | None = None
    model: str | None = None
    contains: str | None = None


class _Meant(Strict):
    """What goes wrong for some requests.

    Attributes:
        match: which requests are meant.
    """

    match: Match = Match()


class _Fault(_Meant):
    """One way to fail, and when.

    Attributes:
        rate: share of the matching requests, drawn from the seed and the request, not from the order of arrival.
        script: numbers of the matching requests that fail, counted from 1 as they arrive; in the place of `rate`.
    """

    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    script: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] | None = None

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


class PingFault(_Fault):
    """A stream that is kept open by comments (`: ping`), which are bytes and no events.

    Attributes:
        delay: seconds before each comment.
        events: how many events still come, each after a comment; then nothing but comments. None: all of them.
    """

    kind: Literal["ping"]
    delay: Annotated[float, Field(ge=0.001, le=86_400)] = 0.05
    events: Annotated[int, Field(ge=0)] | None = None


class _LimitFault(_Meant):
    """A limit that the provider keeps for each model by itself: what is above it gets a 429.

    Attributes:
        retry_after: seconds; or whether to say how long it takes until the request would pass.
    """

    retry_after: RetryAfter = True


class RateLimitFault(_LimitFault):
    """So many requests and tokens in any 60 seconds.

    Attributes:
        headers: whether replies say how much is left (`x-ratelimit-...`).
    """

    kind: Literal["rate_limit"]
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    headers: bool = True

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("give requests_per_minute, tokens_per_minute or both")
        return self


class CapacityFault(_LimitFault):
    """So many requests at once, or in any second."""

    kind: Literal["capacity"]
    retry_after: RetryAfter = False
    requests_in_flight: Count | None = None
    requests_per_second: Count | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_in_flight is None and self.requests_per_second is None:
            raise ValueError("give requests_in_flight, requests_per_second or both")
        return self


LimitFault = RateLimitFault | CapacityFault
StrikingFault = StatusFault | BrokenReplyFault | SlowDripFault | LatencyFault | PingFault
Fault = Annotated[
    StatusFault | BrokenReplyFault | SlowDripFault | LatencyFault | PingFault | RateLimitFault | CapacityFault,
    Field(discriminator="kind"),
]
