"""A role ready to be called: its client behind the gate, and the plain call `ask`."""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

import httpx2
from openai import AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseCompletedEvent, ResponseStreamEvent

from agent_pipeline.config.role_models import Api
from agent_pipeline.gateway.binding import Binding
from agent_pipeline.gateway.client import make_client
from agent_pipeline.gateway.outputs import OutputSchema, output_schema
from agent_pipeline.gateway.parameters import body_params

OutputT = TypeVar("OutputT")

_JSON = {"content-type": "application/json"}


class RoleClient:
    """One role bound to provider, model and params; made by `Gateway.role`.

    Attributes:
        transport: the gate's side of this role's client, for clients made elsewhere.
        instructions: the role's system prompt, None where it has none.
    """

    def __init__(
        self,
        *,
        binding: Binding,
        api: Api,
        official: bool,
        params: Mapping[str, Any],
        instructions: str | None,
        transport: httpx2.AsyncBaseTransport,
    ) -> None:
        self.binding = binding
        self.api: Api = api
        self.base_url = binding.base_url
        self.official = official
        self.params = params
        self.instructions = instructions
        self.transport = transport
        self.client = make_client(binding.base_url, transport)
        self._body = {**body_params(api, params, official=official), "model": binding.model}
        self._urls: dict[str, httpx2.URL] = {}
        self._streamed = bool(params.get("stream"))

    async def send_again(self, path: str, body: bytes) -> None:
        """Send a body that some request had before, through the gate like any other; its answer is judged and dropped.

        Raises:
            ProviderError: what the gate could not cure.
            BudgetExceededError: the worst case no longer fits.
        """
        if path not in self._urls:
            self._urls[path] = httpx2.URL(self.base_url).join(path)
        request = httpx2.Request("POST", self._urls[path], headers=_JSON, content=body)
        await self.transport.handle_async_request(request)

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
        body: dict[str, Any] = {**self._body, "input": prompt}
        if self.instructions is not None:
            body["instructions"] = self.instructions
        if schema is not None:
            body["text"] = {**body.get("text", {}), "format": {"type": "json_schema", **schema.form}}
        if not self._streamed:
            return (await self.client.ask("/responses", body, Response)).output_text
        stream = await self.client.post(
            "/responses",
            cast_to=Response,
            body={**body, "stream": True},
            stream=True,
            stream_cls=AsyncStream[ResponseStreamEvent],
        )
        # The gate has seen the terminal event. Both loops run to the end: a generator left early is Trio's to warn of.
        texts = [event.response.output_text async for event in stream if isinstance(event, ResponseCompletedEvent)]
        return texts[0]

    async def _ask_chat(self, prompt: str, schema: OutputSchema[Any] | None) -> str:
        system = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        body: dict[str, Any] = {**self._body, "messages": [*system, {"role": "user", "content": prompt}]}
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": schema.form}
        if not self._streamed:
            completion = await self.client.ask("/chat/completions", body, ChatCompletion)
            return completion.choices[0].message.content or ""
        stream = await self.client.post(
            "/chat/completions",
            cast_to=ChatCompletion,
            body={**body, "stream": True, "stream_options": {**body.get("stream_options", {}), "include_usage": True}},
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
