"""A role ready to be called: its client behind the gate, and the plain call `ask`."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, TypeVar, overload

import httpx2
from openai import AsyncOpenAI, AsyncStream
from openai._base_client import get_platform
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from agent_pipeline.errors import ModelProtocolError
from agent_pipeline.gateway.outputs import OutputSchema, output_schema
from agent_pipeline.gateway.parameters import Api, body_params
from agent_pipeline.gateway.transport import Binding, GateTransport

OutputT = TypeVar("OutputT")


def make_client(base_url: str, transport: httpx2.AsyncBaseTransport) -> AsyncOpenAI:
    """Build an OpenAI client that decides nothing: no retries, no timeouts, no redirects, nothing from the environment.

    The transport adds authorization and drops the headers the client takes from the environment.
    """
    http_client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=None)
    client = AsyncOpenAI(
        api_key="set-by-the-transport", base_url=base_url, http_client=http_client, max_retries=0, timeout=None
    )
    # Found out in a worker thread at the first request otherwise, which virtual time can't wait for.
    client._platform = get_platform()  # noqa: SLF001
    return client


class RoleClient:
    """One role bound to provider, model and params; made by `Gateway.role`.

    Attributes:
        transport: the gate's side of this role's client, for clients made elsewhere.
        instructions: the role's system prompt, None where it has none.
    """

    def __init__(  # noqa: PLR0913  (the parts of a role; keyword-only)
        self,
        *,
        binding: Binding,
        api: Api,
        base_url: str,
        official: bool,
        params: Mapping[str, Any],
        instructions: str | None,
        transport: GateTransport,
    ) -> None:
        self.binding = binding
        self.api: Api = api
        self.base_url = base_url
        self.official = official
        self.params = params
        self.instructions = instructions
        self.transport = transport
        self.client = make_client(base_url, transport)
        self._body = {"model": binding.model, **body_params(api, params, official=official)}
        self._streamed = bool(params.get("stream"))

    @overload
    async def ask(self, prompt: str, output_type: None = None) -> str: ...
    @overload
    async def ask(self, prompt: str, output_type: type[OutputT]) -> OutputT: ...
    async def ask(self, prompt: str, output_type: type[OutputT] | None = None) -> OutputT | str:
        """Make one plain call under Trio; return the answer's text, or a value of `output_type`.

        Raises:
            OutputInvalidError: the answer does not fit `output_type`.
            ProviderError: what the gate could not cure.
            BudgetExceededError: the worst case no longer fits.
        """
        schema = None if output_type is None else output_schema(output_type)
        text = await (self._ask_responses if self.api == "responses" else self._ask_chat)(prompt, schema)
        return text if schema is None else schema.validate(text)

    async def _ask_responses(self, prompt: str, schema: OutputSchema[Any] | None) -> str:
        body = {**self._body, "input": prompt}
        if self.instructions is not None:
            body["instructions"] = self.instructions
        if schema is not None:
            form = {"type": "json_schema", "name": schema.name, "schema": schema.json_schema, "strict": True}
            body["text"] = {**body.get("text", {}), "format": form}
        if not self._streamed:
            return (await self.client.post("/responses", cast_to=Response, body=body)).output_text
        stream = await self.client.post(
            "/responses",
            cast_to=Response,
            body={**body, "stream": True},
            stream=True,
            stream_cls=AsyncStream[ResponseStreamEvent],
        )
        async with aclosing(stream):
            async for event in stream:
                if event.type == "response.completed":
                    return event.response.output_text
        msg = "the stream ended without its terminal event"
        raise ModelProtocolError(msg)

    async def _ask_chat(self, prompt: str, schema: OutputSchema[Any] | None) -> str:
        system = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        body = {**self._body, "messages": [*system, {"role": "user", "content": prompt}]}
        if schema is not None:
            form = {"name": schema.name, "schema": schema.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if not self._streamed:
            completion = await self.client.post("/chat/completions", cast_to=ChatCompletion, body=body)
            return completion.choices[0].message.content or ""
        stream = await self.client.post(
            "/chat/completions",
            cast_to=ChatCompletion,
            body={**body, "stream": True, "stream_options": {"include_usage": True}},
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        async with aclosing(stream):
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
