"""The limits of a run: how much at once, how long, how often again, how much money."""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from agent_pipeline.config.source_map import source_map_of
from agent_pipeline.config.validation import ConfigModel, build
from agent_pipeline.errors import ConfigError

MICRO_USD = 1_000_000
"""Micro-dollars in a dollar."""

Count = Annotated[int, Field(gt=0, le=1_000_000_000_000)]
Seconds = Annotated[float, Field(gt=0)]

LADDER = ("run", "document", "stage", "attempt", "read")
"""Timeouts from the outermost inwards; `connect` is beside `read`, inside `attempt`."""


class RequestsInFlightConfig(ConfigModel):
    """How many requests go to one provider and model at once; a plain number N means never more than N.

    Attributes:
        start: where the run begins.
        min: what it never falls below, however often the provider asks for pauses.
        max: what it never exceeds.
    """

    start: Count = 20
    min: Count = 1
    max: Count = 200

    @model_validator(mode="before")
    @classmethod
    def _fill_up(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            if value <= 0:  # said once, not for each of the keys it stands for
                raise ValueError("the value should be greater than 0")
            return {"start": value, "min": 1, "max": value}
        if not isinstance(value, dict | RequestsInFlightConfig):
            raise ValueError("a whole number or a mapping such as {start: 20, min: 1, max: 200} is wanted")  # noqa: TRY004 - pydantic wants a ValueError
        if isinstance(value, dict) and "start" not in value:
            # Only the default gives way to the bounds; a start that is written down has to fit.
            low, high = value.get("min", 1), value.get("max", 200)
            if isinstance(low, int) and isinstance(high, int):
                return {**value, "start": max(low, min(20, high))}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> "RequestsInFlightConfig":
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) exceeds max ({self.max})")
        if self.min > self.start:
            raise ValueError(f"min ({self.min}) exceeds start ({self.start})")
        if self.start > self.max:
            raise ValueError(f"start ({self.start}) exceeds max ({self.max})")
        return self


class TimeoutsConfig(ConfigModel):
    """The deadline ladder in seconds; None is unlimited.

    Beside the ladder: how long documents in flight may go on after the first signal (`grace`), and how long what was
    cancelled, and what is closed at the end, may take (`abandon`).
    """

    run: Seconds | None = None
    document: Seconds | None = 600.0
    stage: Seconds | None = 300.0
    attempt: Seconds | None = 120.0
    read: Seconds | None = 60.0
    connect: Seconds | None = 5.0
    grace: Annotated[float, Field(ge=0)] | None = 10.0
    abandon: Seconds | None = 60.0

    def steps(self) -> Iterator[tuple[str, float, str, float]]:
        """Yield each set rung with the nearest set rung around it: inner name and length, outer name and length."""
        lengths: dict[str, float | None] = self.model_dump()
        for inner in (*LADDER[1:], "connect"):
            around = LADDER[: LADDER.index("read" if inner == "connect" else inner)]
            outer = next((name for name in reversed(around) if lengths[name] is not None), None)
            inner_length = lengths[inner]
            if outer is not None and inner_length is not None:
                yield inner, inner_length, outer, lengths[outer] or math.inf

    def too_long_for(self, outer: str) -> list[str]:
        """Return the rungs within another one that are as long as it or longer, the nearest first."""
        lengths: dict[str, float | None] = self.model_dump()
        around = lengths[outer] or math.inf
        within = (*LADDER[LADDER.index(outer) + 1 :], "connect")
        return [name for name in within if (lengths[name] or 0) >= around]


class RetryConfig(ConfigModel):
    """How often and how patiently a failed request is tried again; delays in seconds."""

    max_attempts: Annotated[int, Field(gt=0, le=1000)] = 5
    initial_delay: Seconds = 0.5
    max_delay: Seconds = 60.0

    @model_validator(mode="after")
    def _in_order(self) -> "RetryConfig":
        if self.initial_delay > self.max_delay:
            raise ValueError(f"initial_delay ({self.initial_delay:g} s) exceeds max_delay ({self.max_delay:g} s)")
        return self


def _money(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("an amount in dollars is wanted, such as 2.5")  # noqa: TRY004 - pydantic wants a ValueError
    # By way of its shortest text, so that 0.1 is a tenth and not the nearest binary fraction.
    amount = Decimal(str(value))
    if not amount.is_finite() or amount * MICRO_USD < 1:
        raise ValueError("an amount of at least 0.000001 dollars is wanted")
    return amount


Dollars = Annotated[Annotated[Decimal, Field(le=1_000_000_000)], BeforeValidator(_money)]


def micro_usd_of(dollars: Decimal | None) -> int | None:
    """Return an amount as whole micro-dollars, rounded down; None stays None."""
    return None if dollars is None else int(dollars * MICRO_USD)


class BudgetConfig(ConfigModel):
    """What may be used in all; None is unlimited."""

    tokens: Count | None = None
    usd: Dollars | None = None

    @property
    def micro_usd(self) -> int | None:
        """The money as whole micro-dollars, rounded down."""
        return micro_usd_of(self.usd)


class LimitsConfig(ConfigModel):
    """All limits of a run."""

    documents_in_flight: Count = 100
    requests_in_flight: RequestsInFlightConfig = Field(default_factory=RequestsInFlightConfig)
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)
    retry: RetryConfig = Field(default_factory=RetryConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    budget_per_document: BudgetConfig = Field(default_factory=BudgetConfig)


def parse_limits(data: object) -> LimitsConfig:
    """Check limits that are in memory already, as a pipeline file has them under `limits`.

    Raises:
        ConfigError: anything is wrong with them.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"a mapping is wanted, not {type(data).__name__}", key="limits")
    return build(LimitsConfig, source_map_of(dict(data)))
