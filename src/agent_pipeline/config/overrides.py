"""Apply what the command line changes to checked values, under the same checks as the files."""

from pydantic import ValidationError

from agent_pipeline.config.base_url import check_base_url
from agent_pipeline.config.engine import EngineConfig
from agent_pipeline.config.key_guard import looks_like_known_key
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.pipeline_models import Overrides
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.validation import M, did_you_mean, wording
from agent_pipeline.errors import ConfigError

COMMAND_LINE = "command line"


def override_limits(limits: LimitsConfig, overrides: Overrides) -> LimitsConfig:
    """Return the limits with what the command line says in their place.

    Raises:
        ConfigError: a value makes no sense; the key is the flag.
    """
    budget, timeouts = limits.budget, limits.timeouts
    if overrides.budget_tokens is not None:
        budget = _with(budget, "--budget-tokens", tokens=overrides.budget_tokens)
    if overrides.budget_usd is not None:
        budget = _with(budget, "--budget-usd", usd=overrides.budget_usd)
    if overrides.run_timeout is not None:
        timeouts = _with(timeouts, "--timeout", run=overrides.run_timeout)
    changed = limits.model_copy(update={"budget": budget, "timeouts": timeouts})
    if overrides.documents_in_flight is not None:
        changed = _with(changed, "--documents-in-flight", documents_in_flight=overrides.documents_in_flight)
    return changed


_ENGINE_FLAGS = {
    "kind": "--engine",
    "address": "--ray-address",
    "workers": "--workers",
    "worker_concurrency": "--worker-concurrency",
    "shard_size": "--shard-size",
}


def override_engine(engine: EngineConfig, overrides: Overrides) -> EngineConfig:
    """Return the engine with what the command line says in its place.

    Raises:
        ConfigError: a value makes no sense, or is for another engine; the key is the flag.
    """
    for name, flag in _ENGINE_FLAGS.items():
        value = getattr(overrides.engine, name)
        if value is None:
            continue
        engine = _with(engine, flag, **{name: value})
        if name != "kind" and engine.kind == "local":
            problem = "this is for runs on Ray: add --engine ray, or leave it out"
            raise ConfigError(problem, place=COMMAND_LINE, key=flag)
    return engine


def override_runtime(runtime: RuntimeConfig, overrides: Overrides) -> RuntimeConfig:
    """Return the roles with the models and addresses of the command line.

    Raises:
        ConfigError: an unknown role or provider, or an unusable model or address; the key is the flag.
    """
    roles, providers = dict(runtime.roles), dict(runtime.providers)
    for role, model in overrides.role_models.items():
        key = f"--role {role}"
        if role not in roles:
            raise ConfigError(f"unknown role{did_you_mean(role, roles)}", place=COMMAND_LINE, key=key)
        if not model.strip() or not model.isprintable() or looks_like_known_key(model):
            raise ConfigError("the name of a model is wanted", place=COMMAND_LINE, key=key)
        roles[role] = roles[role].model_copy(update={"model": model})
    for provider, url in overrides.base_urls.items():
        key = f"--base-url {provider}"
        if provider not in providers:
            raise ConfigError(f"unknown provider{did_you_mean(provider, providers)}", place=COMMAND_LINE, key=key)
        try:
            providers[provider] = providers[provider].model_copy(update={"base_url": check_base_url(url)})
        except ValueError as exc:
            raise ConfigError(str(exc), place=COMMAND_LINE, key=key) from None
    return runtime.model_copy(update={"roles": roles, "providers": providers})


def _with(model: M, flag: str, **values: object) -> M:
    # The fields as they are, not dumped: nested models stay what they are and are not checked twice.
    fields = {name: getattr(model, name) for name in type(model).model_fields}
    try:
        return type(model).model_validate({**fields, **values})
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        raise ConfigError(wording(error["type"], error["msg"]), place=COMMAND_LINE, key=flag) from None
