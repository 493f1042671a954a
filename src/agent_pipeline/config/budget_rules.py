"""Budgets that could not be kept: where the worst case of a request is not known before it goes."""

from collections.abc import Iterator

from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.prices import FindPrice
from agent_pipeline.config.role_models import LLMMode, RoleConfig, RoleDefaultsConfig, RuntimeConfig
from agent_pipeline.config.source_map import KeyPath, SourceMap

_ORDER = {"tokens": "tokens", "usd": "dollars"}


def budget_problems(
    limits: LimitsConfig, runtime: RuntimeConfig, find_price: FindPrice
) -> Iterator[tuple[KeyPath, str]]:
    """Yield what keeps the budgets of a run from being kept: the key in the roles file, and what is wrong there.

    A role without an output cap may answer with any number of tokens; a model without a price may cost anything.
    Prices are looked up only where some budget counts money.
    """
    caps = (limits.budget, limits.budget_per_document)
    counts_tokens = any(cap.tokens is not None or cap.usd is not None for cap in caps)
    counts_money = any(cap.usd is not None for cap in caps)
    for path, role in _settings(runtime):
        own_money = isinstance(role, RoleConfig) and role.budget_usd is not None
        if counts_tokens and role.mode is LLMMode.chat and role.output_cap is None:
            yield path, "a budget needs an output cap for every role; set params.max_tokens"
        if (counts_money or own_money) and find_price(role.provider, role.model) is None:
            problem = (
                f"a budget in dollars needs a price, and none is known for {role.model!r} of {role.provider!r}; "
                "write it under `prices` in the pipeline file, or use a budget in tokens"
            )
            yield path if counts_money else (*path, "budget_usd"), problem


def check_order(limits: LimitsConfig, source: SourceMap) -> None:
    """Refuse a document's budget above the whole run's, which it could never reach.

    Raises:
        ConfigError: at the document's, as the pipeline file has it.
    """
    for key, unit in _ORDER.items():
        document, run = getattr(limits.budget_per_document, key), getattr(limits.budget, key)
        if document is not None and run is not None and document > run:
            problem = f"one document's budget ({document:,} {unit}) exceeds the whole run's ({run:,} {unit})"
            raise source.error(problem, ("limits", "budget_per_document", key))


def _settings(runtime: RuntimeConfig) -> Iterator[tuple[KeyPath, RoleDefaultsConfig]]:
    for name, role in runtime.roles.items():
        yield ("roles", name), role
    if runtime.defaults is not None:
        yield ("defaults",), runtime.defaults
