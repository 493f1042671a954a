"""Chat Completions of one provider, through the gateway: what the adapters of OpenAI-compatible services share."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from pydantic import JsonValue, SecretStr, ValidationError

from agent_pipeline.adapters.gated import GatedAdapter, Limits, Tally, read_limits
from agent_pipeline.adapters.values import LLMAnswer, RunConfig
from agent_pipeline.config.environment import IN_A_PROGRAM, given_api_key
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.misfit import first_misfit
from agent_pipeline.config.role_models import ProviderConfig, RoleConfig, RuntimeConfig
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.errors import ConfigError, LLMConfigError
from agent_pipeline.gateway import ConnectionPool, Endpoint, Gateway, RoleClient, make_gate, open_gateway
from agent_pipeline.gateway.answers import read_usage
from agent_pipeline.gateway.endpoints import key_for
from agent_pipeline.gateway.parameters import body_params

MOST_MODELS = 64
"""Models asked at once whose clients are kept; more are made anew."""

_NOT_PARAMS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"})


@dataclass(frozen=True, slots=True)
class Service:
    """A provider of Chat Completions.

    Attributes:
        provider: its id, by which prices are found.
        base_url: of its OpenAI-compatible API.
        env_key: names the environment variable that holds its key.
    """

    provider: str
    base_url: str
    env_key: str


@dataclass(frozen=True, slots=True)
class _Settings:
    role: str
    service: Service
    endpoint: Endpoint
    model: str
    temperature: float | None
    system: str | None
    params: Mapping[str, JsonValue]
    limits: LimitsConfig
    make_pool: Callable[[], ConnectionPool] = field(repr=False)

    def runtime(self, model: str) -> RuntimeConfig:
        """Return roles that are all this model.

        Raises:
            LLMConfigError: no model is called so.
        """
        name, url = self.service.provider, self.endpoint.base_url
        try:
            role = RoleConfig(provider=name, model=model)
        except ValidationError as exc:
            raise LLMConfigError(f"model: {first_misfit(exc).why}") from exc
        providers = {name: ProviderConfig(base_url=url, api="chat")}
        return RuntimeConfig(project="adapters", env="local", providers=providers, roles={self.role: role})


class ChatAdapter(GatedAdapter):
    """Asks an OpenAI-compatible service by Chat Completions; a subclass names one.

    Attributes:
        service: which.

    Args:
        model: as the service calls it.
        max_tokens: the output cap where a call's config sets none.
        temperature: likewise.
        system: the system prompt, likewise.
        params: more fields of each request, by the service's names.
        base_url: instead of the service's own address; plain http on this machine only.
        api_key: the key itself; None takes it from the environment.
        env_key: names the variable that holds it, instead of the service's usual one.
        limits: as `limits` of a pipeline file.
        make_pool: of connections; another one where no network is wanted.

    Raises:
        LLMConfigError: a setting that can't be.
        EnvVarMissingError: there is no key, and the address is not on this machine.
    """

    service: ClassVar[Service]

    def __init__(
        self,
        model: str,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        system: str | None = None,
        params: Mapping[str, JsonValue] | None = None,
        base_url: str | None = None,
        api_key: SecretStr | str | None = None,
        env_key: str | None = None,
        limits: Limits | None = None,
        make_pool: Callable[[], ConnectionPool] = ConnectionPool,
    ) -> None:
        RunConfig(
            max_tokens=max_tokens, temperature=temperature, system=system, params={} if params is None else params
        )
        settings = _Settings(
            role=type(self).__name__,
            service=self.service,
            endpoint=_endpoint(self.service, base_url, api_key, env_key),
            model=model,
            temperature=temperature,
            system=system,
            params=dict(_checked(params or {})),
            limits=read_limits(limits, {}),
            make_pool=make_pool,
        )
        settings.runtime(model)
        tally = Tally()
        super().__init__(partial(_open_chat, settings, tally), tally=tally, max_tokens=max_tokens)


class _Chat:
    """Makes the requests, under Trio.

    Args:
        settings: of the adapter.
        gateway: opened for them.
    """

    def __init__(self, settings: _Settings, gateway: Gateway) -> None:
        self._settings = settings
        self._gateway = gateway
        self._roles: dict[str, RoleClient] = {}

    async def ask(self, prompt: str, config: RunConfig) -> LLMAnswer:
        """Make one call."""
        settings = self._settings
        role = self._role(config.model or settings.model)
        system = settings.system if config.system is None else config.system
        temperature = settings.temperature if config.temperature is None else config.temperature
        asked = {**settings.params, **_checked(config.params)}
        asked |= {"temperature": temperature, "max_tokens": config.max_tokens}
        completion = await role.client.chat.completions.create(
            model=role.binding.model,
            messages=[{"role": "user", "content": prompt}]
            if system is None
            else [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
            extra_body=body_params("chat", asked, official=role.official),
        )
        reported = None if completion.usage is None else completion.usage.model_dump()
        usage = read_usage(reported, "prompt_tokens", "completion_tokens")
        price = role.binding.price
        return LLMAnswer(
            text=completion.choices[0].message.content or "",
            usage=usage,
            model=completion.model,
            cost_micro_usd=None if usage is None or price is None else price.cost_micro_usd(usage),
            raw=completion,
        )

    def _role(self, model: str) -> RoleClient:
        """Return the client for a model: its requests are limited by themselves, and priced."""
        known = self._roles.get(model)
        if known is None:
            if len(self._roles) >= MOST_MODELS:
                self._roles.clear()
            known = self._roles[model] = self._gateway.revised(self._settings.runtime(model)).role(self._settings.role)
        return known


@asynccontextmanager
async def _open_chat(settings: _Settings, tally: Tally) -> AsyncGenerator[_Chat]:
    gate = make_gate(settings.limits, budget=RunBudget(), record=tally.record, closes_for_good=False)
    async with open_gateway(
        settings.runtime(settings.model),
        {settings.service.provider: settings.endpoint},
        settings.limits,
        gate=gate,
        make_pool=settings.make_pool,
    ) as gateway:
        yield _Chat(settings, gateway)


def _checked(params: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Refuse fields that have a place of their own, or would make another kind of answer."""
    if misplaced := sorted(_NOT_PARAMS & params.keys()):
        raise LLMConfigError(f"params may not hold {', '.join(misplaced)}: RunConfig and adapter have what is possible")
    return params


def _endpoint(service: Service, base_url: str | None, api_key: SecretStr | str | None, env_key: str | None) -> Endpoint:
    url = service.base_url if base_url is None else base_url
    try:
        provider = ProviderConfig(base_url=url, api="chat", env_key=env_key or service.env_key)
    except ValidationError as exc:
        place, why = first_misfit(exc)
        raise LLMConfigError(f"{place}: {why}") from None
    if api_key is None:
        return Endpoint(url, "chat", key_for(service.provider, provider, f"{IN_A_PROGRAM}, or give api_key=..."))
    try:
        return Endpoint(url, "chat", given_api_key(api_key))
    except ConfigError as exc:
        raise LLMConfigError(str(exc)) from None
