"""What an OpenAI client sends through: one role's requests, each passing the gate, answered whole or by an error.

A streamed answer is taken in whole and checked before its first event is handed on. So a stream that breaks off is
retried like any other answer, and a document's asyncio loop is entered once per request, not once per chunk.
"""

import functools
from typing import Protocol

import httpx2

from agent_pipeline.control.call import Attempt, Call, fingerprint_of
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.scope import current_scope
from agent_pipeline.errors import IncompleteAnswerError, RequestRejectedError
from agent_pipeline.gateway.answers import EVENT_STREAM, JSON, check_answer, without_done
from agent_pipeline.gateway.binding import Binding
from agent_pipeline.gateway.body import read_answer, read_refusal
from agent_pipeline.gateway.exchange import exchanged
from agent_pipeline.gateway.failures import from_status
from agent_pipeline.gateway.parameters import Asked, read_asked
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

_KEPT_HEADERS = frozenset({"accept", "content-type", "user-agent", "openai-beta", "idempotency-key"})
"""All else a client library adds, from the environment or about this machine, stays here."""


class Listener(Protocol):
    """Takes an event stream as it comes; a request carries one in its extensions under `LISTENER`."""

    @property
    def has_heard(self) -> bool:
        """Whether anything was handed on by now, so that no other attempt may begin."""
        ...

    def begin(self) -> None:
        """Forget what an attempt before this one said."""
        ...

    def take(self, part: bytes) -> None:
        """Take the next bytes; must not block."""
        ...


LISTENER = "agent_pipeline.listener"


class GateTransport(httpx2.AsyncBaseTransport):
    """Sends one role's requests through the gate; for use under Trio.

    Raises errors of ours only (and `trio.Cancelled`): they leave the OpenAI client and the Agents SDK as they are.
    """

    def __init__(self, binding: Binding, *, gate: Gate, pool: ConnectionPool, keys: SecretValues = NO_SECRETS) -> None:
        self._binding = binding
        self._gate = gate
        self._pool = pool
        self._keys = keys
        self._origin = _origin(httpx2.URL(binding.base_url))
        self._own_headers = {"accept-encoding": "gzip"} | binding.authorization

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the checked answer to one request, after as many attempts as the gate allows."""
        binding = self._binding
        if _origin(request.url) != self._origin:
            raise RequestRejectedError(
                f"role {binding.role} may ask {binding.base_url} only; a request to {request.url.host} was not sent"
            )
        body = self._without_keys(await request.aread())
        asked = read_asked(body)
        who = (binding.role, binding.provider, binding.model, request.method, request.url.path)
        call = Call(
            role=binding.role,
            provider=binding.provider,
            model=binding.model,
            method=request.method,
            path=request.url.path,
            input_tokens_bound=len(body),
            output_tokens_cap=asked.output_tokens_bound(binding.output_tokens_cap),
            price=binding.price,
            scope=current_scope(),
            fingerprint=fingerprint_of(*who, content=body),
        )
        return await self._gate.call(call, functools.partial(self._attempt, request, body, asked))

    async def _attempt(self, request: httpx2.Request, body: bytes, asked: Asked, attempt: Attempt) -> httpx2.Response:
        listener: Listener | None = request.extensions.get(LISTENER)
        if listener is not None:
            listener.begin()
        try:
            return await self._one_answer(request, body, asked, attempt, listener)
        finally:
            attempt.handed_on = listener is not None and listener.has_heard

    async def _one_answer(
        self, request: httpx2.Request, body: bytes, asked: Asked, attempt: Attempt, listener: Listener | None
    ) -> httpx2.Response:
        status, headers, answered = await self._exchange(request, body, attempt, listener)
        shown = self._binding.hide_in(answered)
        failure = from_status(status, headers, shown, url=str(request.url))
        if failure is not None:
            raise failure
        streamed = bool(asked.stream)
        if streamed:
            # The last event counts also where the blank line after it is missing; torn ones are no JSON.
            shown, answered = shown + b"\n\n", answered + b"\n\n"
        content_type = headers.get("content-type", "")
        try:
            check_answer(attempt, path=request.url.path, content_type=content_type, streamed=streamed, body=shown)
        except IncompleteAnswerError:
            if not self._binding.takes_incomplete:
                raise
        if streamed:
            answered = without_done(answered)
        kept = {"content-type": EVENT_STREAM if streamed else JSON}
        if attempt.provider_request_id:
            kept["x-request-id"] = attempt.provider_request_id
        return httpx2.Response(status, headers=kept, content=answered, request=request)

    async def _exchange(
        self, request: httpx2.Request, body: bytes, attempt: Attempt, listener: Listener | None
    ) -> tuple[int, httpx2.Headers, bytes]:
        kept = {name: value for name, value in request.headers.items() if name in _KEPT_HEADERS}
        outgoing = httpx2.Request(
            request.method,
            request.url,
            headers=kept | self._own_headers,
            content=body,
        )
        async with exchanged(outgoing, attempt, pool=self._pool, binding=self._binding) as response:
            if response.is_success:
                take = None if listener is None else listener.take
                answered = await read_answer(response, event_timeout=self._binding.timeouts.get("read"), take=take)
            else:
                answered = await read_refusal(response)
            return response.status_code, response.headers, answered

    def _without_keys(self, body: bytes) -> bytes:
        """Return a request's body with no key in it, this provider's or another's: a tool may have come upon one."""
        text = body.decode("utf-8", "surrogateescape")
        return self._keys.text(text).encode("utf-8", "surrogateescape") if self._keys.holds(text) else body


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
