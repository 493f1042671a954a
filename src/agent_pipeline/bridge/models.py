"""Roles as the Agents SDK's models: code names a role, YAML says what it is."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import agents as sdk
from agents.models.interface import Model, ModelProvider
from openai.types.shared import Reasoning

from agent_pipeline.bridge.transport import GuestTransport
from agent_pipeline.gateway.parameters import body_params, output_tokens_cap
from agent_pipeline.gateway.roles import RoleClient, make_client

_SETTINGS = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty", "verbosity", "store"})


def role_settings(role: RoleClient) -> sdk.ModelSettings:
    """Return a role's params as the SDK's settings; what the SDK has no name for goes into the request body."""
    params = {name: value for name, value in role.params.items() if name != "stream"}
    known: dict[str, Any] = {name: params.pop(name) for name in _SETTINGS & params.keys()}
    effort = params.pop("reasoning_effort", None)
    reasoning = params.pop("reasoning", None) or ({"effort": effort} if effort else None)
    if reasoning is not None:
        known["reasoning"] = Reasoning(**reasoning)
    if role.api == "responses" or not role.official:
        known["max_tokens"] = params.pop("max_tokens", None)
    extra_body = body_params(role.api, params, official=role.official)
    usage = True if role.api == "chat" else None
    return sdk.ModelSettings(**known, include_usage=usage, extra_body=extra_body or None)


def settle_settings(role: sdk.ModelSettings, agent: sdk.ModelSettings, *, cap: int) -> sdk.ModelSettings:
    """Merge: an agent's own settings win over its role's, except that nothing lifts the role's output cap.

    The cap is what the budget reserves for. SDK retries are switched off: the gate is the one owner of retries.
    """
    merged = role.resolve(agent)
    if cap and role.max_tokens is not None:
        merged = dataclasses.replace(merged, max_tokens=min(cap, merged.max_tokens or cap))
    return dataclasses.replace(merged, retry=None)


class RoleModel(Model):
    """The SDK's own model for the role's API, with the role's settings merged into every request."""

    def __init__(self, role: RoleClient) -> None:
        client = make_client(role.base_url, GuestTransport(role.transport))
        make = sdk.OpenAIResponsesModel if role.api == "responses" else sdk.OpenAIChatCompletionsModel
        self._inner: Model = make(model=role.binding.model, openai_client=client)
        self._settings = role_settings(role)
        self._cap = output_tokens_cap(role.params)

    async def get_response(
        self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Ask once; see the SDK's `Model`."""
        merged = settle_settings(self._settings, model_settings, cap=self._cap)
        return await self._inner.get_response(system_instructions, input, merged, *args, **kwargs)

    def stream_response(
        self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Ask once, streamed; see the SDK's `Model`."""
        merged = settle_settings(self._settings, model_settings, cap=self._cap)
        return self._inner.stream_response(system_instructions, input, merged, *args, **kwargs)


class RoleProvider(ModelProvider):
    """Resolves a role's name to its model; each is built once and serves all documents.

    Args:
        find_role: by name.
    """

    def __init__(self, find_role: Callable[[str], RoleClient]) -> None:
        self._find_role = find_role
        self._models: dict[str, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        """Return the model of a role.

        Raises:
            UnknownRoleError: no such role, and no defaults.
        """
        name = model_name or "default"
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = RoleModel(self._find_role(name))
        return model
