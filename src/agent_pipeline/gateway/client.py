"""The OpenAI client of a role: it decides nothing, and takes the short way to the gate where no call needs another.

The gate gives back an answer that is whole and checked, or one of our errors. So of what the client does for each call
(transforming the body along its type, building options, request and headers, redirects, retries, status) only two
things are left for a plain call: JSON out, JSON in. That was half of what a call cost beyond the network.
"""

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import httpx2
from openai import AsyncOpenAI
from openai._constants import RAW_RESPONSE_HEADER
from openai._models import construct_type_unchecked
from openai._utils import is_given
from openai._utils._json import openapi_dumps
from openai.resources.chat.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel, ValidationError

AnswerT = TypeVar("AnswerT")

_JSON = "application/json"

_LONG_WAY = ("extra_query", "timeout", "stream")
"""Arguments of a call that only the client's own way knows what to do with."""

_NO_FIELDS = frozenset({*_LONG_WAY, "extra_headers", "extra_body"})


class GatedClient(AsyncOpenAI):
    """An OpenAI client whose plain calls go to its transport directly; made by `make_client`."""

    short_way: httpx2.AsyncBaseTransport | None = None
    """The transport; None in copies that a caller made with other options, whose calls go the client's own way."""

    async def ask(self, path: str, body: Mapping[str, Any], answer_type: type[AnswerT]) -> AnswerT:
        """Post JSON and return the answer, built as the client builds it; errors are those of the transport.

        Args:
            path: after the base address.
            body: as it leaves.
            answer_type: what the client makes of the answer.

        Raises:
            TypeError: the body is nothing JSON can hold; nothing was sent.
        """
        if self.short_way is None:
            return await self.post(path, cast_to=answer_type, body=body)
        return await self._ask(self.short_way, path, openapi_dumps(body), answer_type, {})

    async def create(self, path: str, given: Mapping[str, Any], answer_type: type[AnswerT]) -> AnswerT | None:
        """Do what an API's `create` does with these arguments; None where that needs the long way, nothing was sent."""
        transport, headers = self.short_way, given.get("extra_headers") or {}
        if (
            transport is None
            or RAW_RESPONSE_HEADER in headers
            or any(given.get(name) and is_given(given[name]) for name in _LONG_WAY)
        ):
            return None
        fields = {name: value for name, value in given.items() if name not in _NO_FIELDS and is_given(value)}
        try:
            body = openapi_dumps({**fields, **(given.get("extra_body") or {})})
        except TypeError:
            return None  # the client leaves out some things that are no JSON
        own = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        return await self._ask(transport, path, body, answer_type, own)

    async def _ask(
        self,
        transport: httpx2.AsyncBaseTransport,
        path: str,
        body: bytes,
        answer_type: type[AnswerT],
        headers: Mapping[str, str],
    ) -> AnswerT:
        sent = {"accept": _JSON, "content-type": _JSON, "user-agent": self.user_agent, **headers}
        request = httpx2.Request("POST", _join(str(self.base_url), path), headers=sent, content=body)
        response = await transport.handle_async_request(request)
        answer = _built(json.loads(response.content), answer_type)
        setattr(answer, "_request_id", response.headers.get("x-request-id"))  # noqa: B010 - of no type the client tells
        return answer

    @cached_property
    def responses(self) -> AsyncResponses:
        """The Responses API."""
        return _Responses(self)

    @cached_property
    def chat(self) -> AsyncChat:
        """The Chat Completions API."""
        return _Chat(self)


def make_client(base_url: str, transport: httpx2.AsyncBaseTransport) -> GatedClient:
    """Build a client without retries, timeouts, redirects, or anything from the environment.

    The transport adds authorization and drops the headers the client takes from the environment.
    """
    http_client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=None)
    client = GatedClient(
        api_key="set-by-the-transport", base_url=base_url, http_client=http_client, max_retries=0, timeout=None
    )
    # OPENAI_CUSTOM_HEADERS may hold any header, also those that are kept.
    client._custom_headers = {}  # noqa: SLF001
    # Found out in a worker thread at the first request otherwise, which virtual time can't wait for; it is not sent.
    client._platform = "Unknown"  # noqa: SLF001
    client.short_way = transport
    return client


def _built(value: object, answer_type: type[AnswerT]) -> AnswerT:
    """Return an answer as the client builds it, which looks up the type of every field as it goes.

    Where all is of its type to the letter, pydantic makes the same of it in a quarter of the time.
    """
    if issubclass(answer_type, BaseModel):
        try:
            return answer_type.model_validate(value, strict=True)
        except ValidationError:
            pass  # a field is missing, or new: the client takes what it is given
    return construct_type_unchecked(value=value, type_=answer_type)


@lru_cache(maxsize=64)
def _join(base_url: str, path: str) -> httpx2.URL:
    return httpx2.URL(f"{base_url.rstrip('/')}{path}")


class _Responses(AsyncResponses):
    def __init__(self, client: GatedClient) -> None:
        super().__init__(client)
        self._gated = client

    async def create(self, **given: Any) -> Any:  # noqa: ANN401 - the client's own has thirty arguments, overloaded
        answer = await self._gated.create("/responses", given, Response)
        return await super().create(**given) if answer is None else answer


class _Completions(AsyncCompletions):
    def __init__(self, client: GatedClient) -> None:
        super().__init__(client)
        self._gated = client

    async def create(self, **given: Any) -> Any:  # noqa: ANN401 - the client's own has thirty arguments, overloaded
        answer = await self._gated.create("/chat/completions", given, ChatCompletion)
        return await super().create(**given) if answer is None else answer


class _Chat(AsyncChat):
    def __init__(self, client: GatedClient) -> None:
        super().__init__(client)
        self._gated = client

    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._gated)
