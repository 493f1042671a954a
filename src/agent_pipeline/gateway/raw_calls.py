"""Chat completions and embeddings by role, answered with the provider's own objects: the core of hub and pool."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from openai._utils._json import openapi_dumps
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.role_models import ResolvedCall, RuntimeConfig
from agent_pipeline.control.gate import Gate
from agent_pipeline.errors import RequestRejectedError
from agent_pipeline.gateway.chunks import ChunkListener
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.gateway import Gateway
from agent_pipeline.gateway.opening import open_gateway
from agent_pipeline.gateway.parameters import body_params, embedding_params
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.roles import RoleClient
from agent_pipeline.gateway.transport import LISTENER

Message = Mapping[str, Any]

_OF_THE_SYSTEM = frozenset({"system", "developer"})


class RawCalls:
    """Calls of resolved roles; opened by `open_raw_calls`, used under Trio.

    An answer that the model cut short is an answer here, and a refusal is. What is not whole or not the API's still is
    an error. A role's instructions come first, unless the messages begin with some of their own.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def completion(self, call: ResolvedCall, messages: Sequence[Message]) -> ChatCompletion | Response:
        """Ask once; return what the provider's API calls the answer.

        Raises:
            LLMError: what the gate could not cure, or a budget does not allow.
        """
        role = self._gateway.role(call.role)
        body = _body(role, call, messages)
        if role.api == "responses":
            return await role.client.ask("/responses", body, Response)
        return await role.client.ask("/chat/completions", body, ChatCompletion)

    async def embedding(self, call: ResolvedCall, inputs: str | Sequence[Any]) -> CreateEmbeddingResponse:
        """Embed a text, or several; errors as `completion` has them."""
        client = self._gateway.role(call.role).client
        body = {**embedding_params(call.params), "model": call.model, "input": inputs}
        return await client.ask("/embeddings", body, CreateEmbeddingResponse)

    async def stream(self, call: ResolvedCall, messages: Sequence[Message], take: Callable[[object], None]) -> None:
        """Ask for an answer in chunks; return when it is whole and judged good.

        Attempts are made until a first chunk was handed on. Whatever goes wrong later ends the call; the chunks before
        are what there is. Errors as `completion` has them.

        Args:
            call: resolved.
            messages: the conversation so far.
            take: given each chunk as it comes; must not block.
        """
        role = self._gateway.role(call.role)
        body = {**_body(role, call, messages), "stream": True}
        if role.api == "chat":
            body["stream_options"] = {"include_usage": True, **body.get("stream_options", {})}
        listener = ChunkListener(role.api, take)
        path = "responses" if role.api == "responses" else "chat/completions"
        request = httpx2.Request(
            "POST",
            f"{role.base_url.rstrip('/')}/{path}",
            headers={"content-type": "application/json"},
            content=openapi_dumps(body),  # takes what the client takes, such as messages of earlier answers
            extensions={LISTENER: listener},
        )
        await role.transport.handle_async_request(request)
        listener.end()


def _body(role: RoleClient, call: ResolvedCall, messages: Sequence[Message]) -> dict[str, Any]:
    """Return the body of a request; the role's own params are in the call's."""
    fields = {**body_params(role.api, call.params, official=role.official), "model": call.model}
    asked = _listed(messages)
    has_own = bool(asked) and _role_of(asked[0]) in _OF_THE_SYSTEM
    system = [] if role.instructions is None or has_own else [{"role": "system", "content": role.instructions}]
    return {**fields, "input" if role.api == "responses" else "messages": [*system, *asked]}


def _listed(messages: object) -> list[object]:
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise RequestRejectedError(f"messages are a list of mappings, not {type(messages).__name__}; nothing was sent")
    return list(messages)


def _role_of(message: object) -> object:
    """Return who speaks; a message may be an object of an earlier answer."""
    return message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)


@asynccontextmanager
async def open_raw_calls(
    runtime: RuntimeConfig,
    endpoints: Mapping[str, Endpoint],
    limits: LimitsConfig,
    *,
    gate: Gate | None = None,
    make_pool: Callable[[], ConnectionPool] | None = None,
) -> AsyncGenerator[RawCalls]:
    """Open what raw calls need, under Trio; see `open_gateway` for the arguments, and for the end."""
    pool = ConnectionPool if make_pool is None else make_pool
    async with open_gateway(runtime, endpoints, limits, gate=gate, make_pool=pool, takes_incomplete=True) as gateway:
        yield RawCalls(gateway)
