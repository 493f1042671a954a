"""`roles list`: what each role comes to: provider, model, params, fallback, budget, price, key set or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from agent_pipeline.cli.commands.config_file import find_config
from agent_pipeline.cli.commands.hidden import hide, print_hidden, shown
from agent_pipeline.cli.layout import Column, print_lines, table, terminal_width
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.config.price_table import priced_by
from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.role_models import RoleConfig, RoleDefaultsConfig, RuntimeConfig
from agent_pipeline.config.roles import runtime_from_source
from agent_pipeline.config.source_map import load_source_map
from agent_pipeline.domain.usage import Usage
from agent_pipeline.gateway.endpoints import key_state, redactor_of
from agent_pipeline.paths import near

DEFAULTS = "(defaults)"
"""In the place of a role's name: for every role that the file does not name."""

_COLUMNS = (
    Column("ROLE"),
    Column("PROVIDER"),
    Column("MODEL"),
    Column("MODE"),
    Column("PARAMS", yields=True),
    Column("FALLBACK"),
    Column("BUDGET"),
    Column("$ PER MILLION IN, OUT"),
    Column("KEY"),
)
_SAMPLE = 10_000
"""Tokens that a price is worked out for: a request of a usual size, where it depends on that."""

_KEY_WORDS = {"set": "yes", "missing": "no", "none": "not needed"}


@dataclass(frozen=True, slots=True)
class RolesInUse:
    """The roles of a pipeline file, or of a roles file that is used without one."""

    path: Path
    runtime: RuntimeConfig
    limits: LimitsConfig
    price_of: FindPrice


def load_roles(config: Path | None) -> RolesInUse:
    """Read the roles that a pipeline file names; a roles file may be given in its place.

    Raises:
        ConfigError: a file is wrong, or not there.
    """
    path = find_config(config)
    source = load_source_map(path)
    if isinstance(source.value, dict) and "providers" in source.value and "stages" not in source.value:
        runtime = runtime_from_source(source, directory=path.parent)
        found = RolesInUse(path, runtime, LimitsConfig(), find_price)
    else:
        loaded = load_pipeline_config(path)
        found = RolesInUse(loaded.roles, loaded.runtime, loaded.limits, priced_by(loaded.prices))
    hide(redactor_of(found.runtime))
    return found


def list_roles(config: Path | None, *, as_json: bool) -> int:
    """Print the roles; return 0. A key that is missing is a word in its line, no error.

    Raises:
        ConfigError: a file is wrong, or not there.
    """
    roles = load_roles(config)
    if as_json:
        print_hidden({"roles_file": str(roles.path), "roles": [*_objects(roles)], "exit_code": 0})
        return 0
    rows = [_row(name, role, roles) for name, role in _named(roles.runtime)]
    print_lines([f"roles of {near(str(roles.path))}", "", *table(_COLUMNS, rows, terminal_width())])
    return 0


def price_per_million(roles: RolesInUse, provider: str, model: str) -> tuple[Decimal, Decimal] | None:
    """Return what a million tokens of input and of output cost, in dollars; None where that is not known."""
    price = roles.price_of(provider, model)
    if price is None:
        return None
    usages = (Usage(input_tokens=_SAMPLE), Usage(output_tokens=_SAMPLE))
    asked, answered = (Decimal(price.cost_micro_usd(usage)) / _SAMPLE for usage in usages)
    return asked, answered


def _named(runtime: RuntimeConfig) -> Iterator[tuple[str, RoleDefaultsConfig]]:
    yield from runtime.roles.items()
    if runtime.defaults is not None:
        yield DEFAULTS, runtime.defaults


def _row(name: str, role: RoleDefaultsConfig, roles: RolesInUse) -> list[str]:
    price = price_per_million(roles, role.provider, role.model)
    own = role if isinstance(role, RoleConfig) else None
    return [
        shown(name),
        shown(role.provider),
        shown(role.model),
        role.mode.value,
        shown(", ".join(f"{key}={value}" for key, value in role.params.items())),
        shown(own.fallback or "") if own is not None else "",
        _budget(own),
        "unknown" if price is None else f"{price[0]:f}, {price[1]:f}",
        _KEY_WORDS[key_state(roles.runtime, role.provider)],
    ]


def _budget(role: RoleConfig | None) -> str:
    if role is None:
        return ""
    tokens = "" if role.budget_tokens is None else f"{role.budget_tokens:,} tokens"
    return ", ".join(part for part in (tokens, "" if role.budget_usd is None else f"${role.budget_usd}") if part)


def _objects(roles: RolesInUse) -> Iterator[dict[str, object]]:
    for name, role in _named(roles.runtime):
        price = price_per_million(roles, role.provider, role.model)
        own = role if isinstance(role, RoleConfig) else None
        yield {
            "role": None if name == DEFAULTS else name,
            "provider": role.provider,
            "model": role.model,
            "mode": role.mode.value,
            "params": role.params,
            "fallback": None if own is None else own.fallback,
            "budget_tokens": None if own is None else own.budget_tokens,
            "budget_usd": None if own is None or own.budget_usd is None else str(own.budget_usd),
            "usd_per_million_input": None if price is None else float(price[0]),
            "usd_per_million_output": None if price is None else float(price[1]),
            "key_variable": roles.runtime.providers[role.provider].env_key,
            "key": key_state(roles.runtime, role.provider),
        }
