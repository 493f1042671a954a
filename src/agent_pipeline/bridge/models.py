"""Roles as the Agents SDK's models: code names a role, YAML says what it is."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import agents as sdk
from agents.models.default_models import get_default_model_settings
from agents.models.interface import Model, ModelProvider

from agent_pipeline.bridge.transport import GuestTransport
from agent_pipeline.config.params import OUTPUT_CAPS, output_cap
from agent_pipeline.errors import AgentRunError, ModelProtocolError
from agent_pipeline.gateway.client import make_client
from agent_pipeline.gateway.parameters import body_params
from agent_pipeline.gateway.roles import RoleClient

_SETTINGS = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty", "verbosity", "store"})
_DECIDED_BY_ROLE = frozenset({"model", "stream", "n"})


def role_settings(role: RoleClient) -> sdk.ModelSettings:
    """Return a role's params, all but its output cap, as the SDK's settings.

    What the SDK has no name for goes into the request body as it is.
    """
    params = {name: value for name, value in role.params.items() if name not in {"stream", *OUTPUT_CAPS}}
    known: dict[str, Any] = {name: params.pop(name) for name in _SETTINGS & params.keys()}
    effort = params.pop("reasoning_effort", None)
    reasoning = params.pop("reasoning", None) or ({"effort": effort} if effort else None)
    if reasoning is not None:
        known["reasoning"] = reasoning  # the SDK makes its own kind of it
    usage = True if role.api == "chat" else None
    return sdk.ModelSettings(**known, include_usage=usage, extra_body=params or None)


def settle_settings(role: RoleClient, settings: sdk.ModelSettings, agent: sdk.ModelSettings) -> sdk.ModelSettings:
    """Merge: an agent's own settings win over its role's, except that nothing lifts the role's output cap.

    The cap is what the budget reserves for. However the agent names its own, the lowest goes out, by the API's name.

    Args:
        role: whose API and cap count.
        settings: of the role, as `role_settings` made them.
        agent: the agent's own.

    Raises:
        AgentRunError: the agent's extras would change what only a role may decide.
    """
    merged = settings.resolve(agent)
    body = {**_mapping(settings.extra_body), **_mapping(agent.extra_body)}
    extra = dict(merged.extra_args or {})
    for name in _DECIDED_BY_ROLE:
        if name in body or name in extra:
            msg = f"an agent of role {role.binding.role} sets {name!r} in its extras, which only the role may decide"
            raise AgentRunError(msg)
    caps: list[object] = [output_cap(role.params), merged.max_tokens]
    caps += [given.pop(name, None) for given in (body, extra) for name in OUTPUT_CAPS]
    cap = min((cap for cap in caps if isinstance(cap, int)), default=None)
    if cap is not None and role.api == "chat":
        body |= body_params("chat", {"max_tokens": cap}, official=role.official)
        cap = None
    return dataclasses.replace(merged, max_tokens=cap, extra_body=body or None, extra_args=extra or None)


def _mapping(extra: object) -> Mapping[str, object]:
    return extra if isinstance(extra, Mapping) else {}


class RoleModel(Model):
    """The SDK's own model for the role's API, with the role's settings merged into every request.

    Whether a request is streamed is the role's affair too: the gate takes an answer in whole either way.

    Args:
        role: its client's transport is the gate's side.
        implicit: settings the SDK gives an agent that asks for none; they are not the agent's own.
    """

    def __init__(self, role: RoleClient, *, implicit: sdk.ModelSettings | None = None) -> None:
        client = make_client(role.base_url, GuestTransport(role.transport))
        make = sdk.OpenAIResponsesModel if role.api == "responses" else sdk.OpenAIChatCompletionsModel
        self._inner: Model = make(model=role.binding.model, openai_client=client)
        self._role = role
        self._settings = role_settings(role)
        self._implicit = implicit
        self._settled: tuple[sdk.ModelSettings, sdk.ModelSettings] | None = None

    async def get_response(
        self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Ask once; see the SDK's `Model`."""
        merged = self._settle(model_settings)
        if not self._role.params.get("stream"):
            return await self._inner.get_response(system_instructions, input, merged, *args, **kwargs)
        events: Any = self._inner.stream_response(system_instructions, input, merged, *args, **kwargs)
        response: Any = None  # of OpenAI's types, which are the gateway's business
        async with aclosing(events):
            async for event in events:
                if event.type == "response.completed":
                    response = event.response
        if response is None:
            msg = "the stream ended without its terminal event"
            raise ModelProtocolError(msg)
        return sdk.ModelResponse(output=response.output, usage=_usage(response), response_id=response.id)

    def stream_response(
        self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Ask once, streamed whatever the role says; see the SDK's `Model`."""
        merged = self._settle(model_settings)
        return self._inner.stream_response(system_instructions, input, merged, *args, **kwargs)

    def _settle(self, given: sdk.ModelSettings) -> sdk.ModelSettings:
        """Return what goes out; a role's own agent gives the same object at every call."""
        settled = self._settled
        if settled is None or settled[0] is not given:
            settled = self._settled = given, self._merge(given)
        return settled[1]

    def _merge(self, agent: sdk.ModelSettings) -> sdk.ModelSettings:
        implicit = self._implicit
        if implicit is not None and (agent.reasoning, agent.verbosity) == (implicit.reasoning, implicit.verbosity):
            agent = dataclasses.replace(agent, reasoning=None, verbosity=None)
        return settle_settings(self._role, self._settings, agent)


def _usage(response: Any) -> sdk.Usage:
    used = response.usage
    if used is None:
        return sdk.Usage(requests=1)
    return sdk.Usage(
        requests=1,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.total_tokens,
        input_tokens_details=used.input_tokens_details,
        output_tokens_details=used.output_tokens_details,
    )


class RoleProvider(ModelProvider):
    """Resolves a role's name to its model; each is built once and serves all documents.

    Args:
        find_role: by name.
    """

    def __init__(self, find_role: Callable[[str], RoleClient]) -> None:
        self._find_role = find_role
        self._models: dict[str | None, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        """Return the model of a role; an agent that names none gets what `defaults` make of `default`.

        Raises:
            UnknownRoleError: no such role, and no defaults.
        """
        model = self._models.get(model_name)
        if model is None:
            implicit = None if model_name else get_default_model_settings()
            model = self._models[model_name] = RoleModel(self._find_role(model_name or "default"), implicit=implicit)
        return model
