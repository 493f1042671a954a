"""Values that may change while a run goes on: a small file above the pipeline's, read and checked as a whole."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeVar, cast

from pydantic import Field, field_validator, model_validator

from agent_pipeline.config.budget_rules import budget_problems
from agent_pipeline.config.limits import BudgetConfig, Count, Dollars, LimitsConfig, Seconds, TimeoutsConfig
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.price_table import priced_by
from agent_pipeline.config.role_models import Name, RuntimeConfig
from agent_pipeline.config.source_map import KeyPath, SourceMap, load_source_map, source_map_of
from agent_pipeline.config.validation import ConfigModel, build, did_you_mean, refuse_keys
from agent_pipeline.domain.document import JsonValue

ValueT = TypeVar("ValueT")

_FREE_TEXTS = frozenset({"model"})


class LiveRequests(ConfigModel):
    """Bounds of `requests_in_flight`; a plain number is the upper one, and what is left out is the config's."""

    min: Count | None = None
    max: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _number_is_max(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"max": value}
        if not isinstance(value, dict):
            raise ValueError("a whole number or a mapping such as {min: 1, max: 200} is wanted")  # noqa: TRY004 - pydantic wants a ValueError
        return value


class LiveRole(ConfigModel):
    """What may change of a role."""

    model: Name


class LiveValues(ConfigModel):
    """A live file as it is written. A key that is left out leaves the config's value; null lifts a limit."""

    documents_in_flight: Count | None = None
    requests_in_flight: LiveRequests | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    attempt_timeout: Seconds | None = None
    budget_tokens: Count | None = None
    budget_usd: Dollars | None = None
    roles: Annotated[dict[Name, LiveRole], Field(default_factory=dict)]

    @field_validator("documents_in_flight", "requests_in_flight", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("this limit can't be lifted; leave the key out to have the config's value")
        return value


def read_live_values(path: Path) -> tuple[LiveValues, SourceMap]:
    """Read a live file; one that is not there says nothing.

    Raises:
        ConfigError: anything is wrong with the file by itself.
    """
    if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists it also answers for impossible names
        return LiveValues.model_validate({}), source_map_of({})
    source = load_source_map(path)
    refuse_keys(source, free_texts=_FREE_TEXTS)
    return build(LiveValues, source), source


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What holds: the config's values with those of the live file above them.

    Attributes:
        requests_in_flight: lower and upper bound.
        runtime: the roles, with the models of the live file.
    """

    documents_in_flight: int
    requests_in_flight: tuple[int, int]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    attempt_timeout: float | None
    budget_tokens: int | None
    budget_usd: Decimal | None
    runtime: RuntimeConfig

    @property
    def budget(self) -> BudgetConfig:
        """Both caps."""
        return BudgetConfig(tokens=self.budget_tokens, usd=self.budget_usd)

    def shown(self) -> dict[str, JsonValue]:
        """Return every value by its key in a live file, as JSON has it."""
        low, high = self.requests_in_flight
        plain: dict[str, JsonValue] = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name != "runtime"
        }
        plain["requests_in_flight"] = {"min": low, "max": high}
        plain["budget_usd"] = None if self.budget_usd is None else float(self.budget_usd)
        return plain | {f"roles.{name}.model": role.model for name, role in self.runtime.roles.items()}

    def changes_to(self, other: "LiveSettings") -> Mapping[str, tuple[JsonValue, JsonValue]]:
        """Return old and new of each value that differs, by its key."""
        ours, theirs = self.shown(), other.shown()
        return {key: (old, theirs[key]) for key, old in ours.items() if old != theirs[key]}


def settings_of(config: PipelineConfig) -> LiveSettings:
    """Return what holds without a live file."""
    return _above(config, LiveValues.model_validate({}))


def load_live_settings(path: Path, config: PipelineConfig, asked: Iterable[RuntimeConfig] = ()) -> LiveSettings:
    """Read a live file and check what would hold with it, by the rules for the config itself.

    Args:
        path: of the live file.
        config: what it stands above.
        asked: roles as they were before in this session; documents that began with them still ask those models.

    Raises:
        ConfigError: anything is wrong, by itself or together with the config; nothing of the file counts then.
    """
    values, source = read_live_values(path)
    for name in values.roles:
        if name not in config.runtime.roles:
            raise source.error(f"unknown role{did_you_mean(name, config.runtime.roles)}", ("roles", name))
    settings = _above(config, values)
    low, high = settings.requests_in_flight
    if low > high:
        raise source.error(f"min ({low}) exceeds max ({high})", ("requests_in_flight",))
    _check_timeout(config.limits, settings, source)
    for runtime in (settings.runtime, *asked):
        _check_budget(config, values, settings, runtime, source)
    return settings


def _above(config: PipelineConfig, values: LiveValues) -> LiveSettings:
    limits, written = config.limits, values.model_fields_set

    def chosen(key: str, value: ValueT) -> ValueT:
        return cast("ValueT", getattr(values, key)) if key in written else value

    roles = {
        name: role.model_copy(update={"model": values.roles[name].model}) if name in values.roles else role
        for name, role in config.runtime.roles.items()
    }
    return LiveSettings(
        documents_in_flight=values.documents_in_flight or limits.documents_in_flight,
        requests_in_flight=_bounds(limits, values.requests_in_flight),
        requests_per_minute=chosen("requests_per_minute", limits.requests_per_minute),
        tokens_per_minute=chosen("tokens_per_minute", limits.tokens_per_minute),
        attempt_timeout=chosen("attempt_timeout", limits.timeouts.attempt),
        budget_tokens=chosen("budget_tokens", limits.budget.tokens),
        budget_usd=chosen("budget_usd", limits.budget.usd),
        runtime=config.runtime.model_copy(update={"roles": roles}),
    )


def _bounds(limits: LimitsConfig, written: LiveRequests | None) -> tuple[int, int]:
    """Return both bounds; an upper one that is alone pulls the config's lower one down with it."""
    low, high = limits.requests_in_flight.min, limits.requests_in_flight.max
    if written is None:
        return low, high
    high = written.max or high
    return written.min or min(low, high), high


def _check_timeout(limits: LimitsConfig, settings: LiveSettings, source: SourceMap) -> None:
    """Refuse an attempt timeout that does not fit into the ladder; what was wrong with it before is not its fault."""
    ladder = limits.timeouts.model_copy(update={"attempt": settings.attempt_timeout})
    before = set(_broken(limits.timeouts))
    for problem in _broken(ladder):
        if problem not in before:
            raise source.error(problem, ("attempt_timeout",))


def _broken(timeouts: TimeoutsConfig) -> list[str]:
    return [
        f"the {inner} timeout ({inner_length:g} s) has to be shorter than the {outer} timeout ({outer_length:g} s)"
        for inner, inner_length, outer, outer_length in timeouts.steps()
        if inner_length >= outer_length
    ]


def _check_budget(
    config: PipelineConfig, values: LiveValues, settings: LiveSettings, runtime: RuntimeConfig, source: SourceMap
) -> None:
    """Refuse what keeps the budgets of the run, the roles and the documents from being kept."""
    limits = config.limits.model_copy(update={"budget": settings.budget})
    for path, problem in budget_problems(limits, runtime, priced_by(config.prices)):
        if path[:1] == ("roles",) and path[1] in values.roles:
            raise source.error(problem, path[:2])
        key: KeyPath = next(((key,) for key in ("budget_usd", "budget_tokens") if key in values.model_fields_set), ())
        raise source.error(f"{'.'.join(map(str, path))}: {problem}", key)
