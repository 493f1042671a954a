"""Load and resolve roles: which provider, model and params a role name stands for."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from agent_pipeline.config.params import ParamError, check_params
from agent_pipeline.config.role_models import (
    DEFAULT_API,
    Api,
    LLMMode,
    ProviderConfig,
    ResolvedCall,
    RoleConfig,
    RoleDefaultsConfig,
    RuntimeConfig,
)
from agent_pipeline.config.source_map import KeyPath, SourceMap, load_source_map, source_map_of
from agent_pipeline.config.text_file import read_text_file
from agent_pipeline.config.validation import build, did_you_mean, refuse_keys
from agent_pipeline.errors import ConfigError, UnknownProviderError, UnknownRoleError

__all__ = [
    "LLMMode",
    "ProviderConfig",
    "ResolvedCall",
    "RoleConfig",
    "RoleDefaultsConfig",
    "RuntimeConfig",
    "fallbacks_of",
    "load_runtime_config",
    "parse_runtime_config",
    "resolve_role",
    "runtime_from_source",
]

logger = logging.getLogger("agent_pipeline.roles")

_FREE_TEXTS = frozenset({"instructions", "instructions_path", "model"})


def load_runtime_config(path: str | Path) -> RuntimeConfig:
    """Read and check a roles file, and the instructions files it names.

    Raises:
        ConfigError: anything is wrong with the file, or with a file it names.
    """
    path = Path(path)
    return runtime_from_source(load_source_map(path), directory=path.parent)


def parse_runtime_config(data: object) -> RuntimeConfig:
    """Check a roles file's content that is in memory already; reads no file, so `instructions_path` is refused.

    Raises:
        ConfigError: anything is wrong with it.
    """
    return runtime_from_source(source_map_of(data), directory=None)


def runtime_from_source(source: SourceMap, *, directory: Path | None) -> RuntimeConfig:
    """Check what was read from a roles file; `directory` is where its relative paths begin, None to read no files.

    Raises:
        ConfigError: anything is wrong with it.
    """
    refuse_keys(source, free_texts=_FREE_TEXTS)
    config = build(RuntimeConfig, source)
    for name, role in config.roles.items():
        _check_role(config, role, source, ("roles", name))
    if config.defaults is not None:
        _check_role(config, config.defaults, source, ("defaults",))
    _check_fallbacks(config, source)
    roles = {name: _with_instructions(role, source, ("roles", name), directory) for name, role in config.roles.items()}
    return config.model_copy(update={"roles": roles})


def resolve_role(
    config: RuntimeConfig,
    role: str,
    params_override: Mapping[str, JsonValue] | None = None,
    *,
    strict_roles: bool = False,
) -> ResolvedCall:
    """Say what one call of a role uses: the role's own settings, else the defaults; `params_override` wins key by key.

    Nothing is read, written or changed, but the first fall-back of a role to the defaults is logged.

    Args:
        config: roles and providers.
        role: its name.
        params_override: above the role's params.
        strict_roles: whether the defaults cover no role that is not there, which may be one misspelt.

    Raises:
        UnknownRoleError: no such role, and no defaults that would cover it.
        UnknownProviderError: the role's provider is not among the providers.
        ConfigError: with the override, the params we know make no sense.
    """
    settings: RoleDefaultsConfig | None = config.roles.get(role)
    if settings is None:
        settings = None if strict_roles else config.defaults
        if settings is None:
            raise UnknownRoleError(f"unknown role {role!r}{did_you_mean(role, config.roles)}")
        if config.first_time_on_defaults(role):
            logger.info(
                "role %r is not defined; it runs on the defaults (%s, %s)", role, settings.provider, settings.model
            )
    if settings.provider not in config.providers:
        raise UnknownProviderError(
            f"role {role!r} names the unknown provider {settings.provider!r}"
            f"{did_you_mean(settings.provider, config.providers)}"
        )
    params = {**settings.params, **(params_override or {})}
    try:
        check_params(params, mode=settings.mode.value)
    except ParamError as exc:
        raise ConfigError(exc.problem, key=".".join(("roles", role, "params", *exc.key))) from None
    # Validation copies nested lists and mappings, so that the call shares nothing with the config.
    return ResolvedCall(role=role, provider=settings.provider, model=settings.model, mode=settings.mode, params=params)


def fallbacks_of(config: RuntimeConfig, role: str) -> list[str]:
    """Return the roles that stand in for a role, in order."""
    chain = [role]
    while (own := config.roles.get(chain[-1])) is not None and own.fallback is not None and own.fallback not in chain:
        chain.append(own.fallback)
    return chain[1:]


def _check_role(config: RuntimeConfig, role: RoleDefaultsConfig, source: SourceMap, path: KeyPath) -> None:
    if role.provider not in config.providers:
        hint = did_you_mean(role.provider, config.providers)
        raise source.error(f"unknown provider {role.provider!r}{hint}", (*path, "provider"))
    try:
        check_params(role.params, mode=role.mode.value)
    except ParamError as exc:
        raise source.error(exc.problem, (*path, "params", *exc.key)) from None
    if not isinstance(role, RoleConfig) or role.mode is not LLMMode.chat or role.output_cap is not None:
        return
    for key in ("budget_tokens", "budget_usd"):
        if getattr(role, key) is not None:
            raise source.error("a budget needs an output cap; set params.max_tokens", (*path, key))


def _check_fallbacks(config: RuntimeConfig, source: SourceMap) -> None:
    for name, role in config.roles.items():
        path: KeyPath = ("roles", name, "fallback")
        if role.fallback is None:
            continue
        if role.fallback not in config.roles:
            raise source.error(f"unknown role {role.fallback!r}{did_you_mean(role.fallback, config.roles)}", path)
        if config.roles[role.fallback].mode is not role.mode:
            raise source.error(f"the fallback {role.fallback!r} has another mode", path)
        api, other = _api(config, role), _api(config, config.roles[role.fallback])
        if role.mode is LLMMode.chat and api != other:
            problem = f"the fallback {role.fallback!r} speaks api {other}, this role {api}; a request fits only one"
            raise source.error(problem, path)
        _refuse_cycle(config, name, source, path)


def _api(config: RuntimeConfig, role: RoleConfig) -> Api:
    return config.providers[role.provider].api or DEFAULT_API


def _refuse_cycle(config: RuntimeConfig, start: str, source: SourceMap, path: KeyPath) -> None:
    seen = [start]
    following = config.roles[start].fallback
    while following is not None and following in config.roles:
        seen.append(following)
        if following == start:
            raise source.error(f"fallbacks go round in a circle: {' > '.join(seen)}", path)
        if following in seen[:-1]:
            return
        following = config.roles[following].fallback


def _with_instructions(role: RoleConfig, source: SourceMap, path: KeyPath, directory: Path | None) -> RoleConfig:
    if role.instructions_path is None:
        return role
    at = (*path, "instructions_path")
    if directory is None:
        raise source.error("files are read by load_runtime_config only; give the text as `instructions`", at)
    try:
        text = read_text_file(directory / role.instructions_path)
    except ConfigError as exc:
        raise source.error(f"{exc.problem}: {exc.place}", at) from None
    if not text.strip():
        raise source.error("the instructions file is empty", at)
    return role.model_copy(update={"instructions": text})
