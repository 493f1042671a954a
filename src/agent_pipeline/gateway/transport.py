"""What an OpenAI client sends through: one role's requests, each passing the gate, answered whole or by an error of ours.

A streamed answer is taken in whole and checked before its first event is handed on. So a stream that breaks off is
retried like any other answer, and a document's asyncio loop is entered once per request, not once per chunk.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from agent_pipeline.control.gate import Attempt, Call, Gate, Price
from agent_pipeline.control.scope import current_scope
from agent_pipeline.gateway.answers import BodyDecoder, check_answer
from agent_pipeline.gateway.failures import from_status, from_transport
from agent_pipeline.gateway.pool import ConnectionPool

_KEPT_HEADERS = frozenset({"accept", "content-type", "user-agent", "openai-beta", "idempotency-key"})
"""All else a client library adds, from the environment or about this machine, stays here."""

_ASKS_FOR_STREAM = (b'"stream":true', b'"stream": true')


@dataclass(frozen=True, slots=True)
class Binding:
    """A role bound to where its requests go.

    Attributes:
        headers: added to each request: authorization, and what the provider wants.
        output_tokens_cap: 0 where the role sets none.
        timeouts: seconds by httpx2's names; None is unlimited.
    """

    role: str
    provider: str
    model: str
    headers: Mapping[str, str]
    output_tokens_cap: int
    price: Price | None
    timeouts: Mapping[str, float | None]


class GateTransport(httpx2.AsyncBaseTransport):
    """Sends one role's requests through the gate; for use under Trio.

    Raises errors of ours only (and `trio.Cancelled`): they leave the OpenAI client and the Agents SDK as they are.
    """

    def __init__(self, binding: Binding, *, gate: Gate, pool: ConnectionPool) -> None:
        self._binding = binding
        self._gate = gate
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the checked answer to one request, after as many attempts as the gate allows."""
        body = await request.aread()
        binding = self._binding
        call = Call(
            role=binding.role,
            provider=binding.provider,
            model=binding.model,
            method=request.method,
            path=request.url.path,
            input_tokens_bound=len(body),
            output_tokens_cap=binding.output_tokens_cap,
            price=binding.price,
            scope=current_scope(),
        )
        return await self._gate.call(call, functools.partial(self._attempt, request, body))

    async def _attempt(self, request: httpx2.Request, body: bytes, attempt: Attempt) -> httpx2.Response:
        headers = [(name, value) for name, value in request.headers.items() if name in _KEPT_HEADERS]
        timeouts = dict(self._binding.timeouts)
        outgoing = httpx2.Request(
            request.method,
            request.url,
            headers=[*headers, ("accept-encoding", "gzip"), *self._binding.headers.items()],
            content=body,
            extensions={"timeout": timeouts, "trace": functools.partial(_note_dispatch, attempt)},
        )
        try:
            async with self._pool.exchange(outgoing) as response:
                answered = await _read(attempt, response)
        except Exception as exc:
            place = f"{request.url.host}:{request.url.port or request.url.scheme}"
            error = from_transport(exc, number=attempt.number, timeouts=timeouts, place=place)
            if error is exc:
                raise
            raise error from exc
        failure = from_status(response.status_code, response.headers, answered)
        if failure is not None:
            raise failure
        content_type = response.headers.get("content-type", "")
        streamed = any(mark in body for mark in _ASKS_FOR_STREAM)
        check_answer(attempt, path=request.url.path, content_type=content_type, streamed=streamed, body=answered)
        kept = {"content-type": content_type, "x-request-id": attempt.provider_request_id or ""}
        return httpx2.Response(response.status_code, headers=kept, content=answered, request=request)


async def _note_dispatch(attempt: Attempt, event: str, info: object) -> None:  # noqa: RUF029, ARG001  (httpx2 awaits it)
    if event.endswith("send_request_headers.started"):
        attempt.dispatched = True


async def _read(attempt: Attempt, response: httpx2.Response) -> bytes:
    attempt.status_code = response.status_code
    attempt.provider_request_id = response.headers.get("x-request-id")
    decoder = BodyDecoder(response.headers.get("content-encoding"))
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        msg = "the transport gave a response that can't be read under Trio"
        raise TypeError(msg)
    async for chunk in stream:
        decoder.feed(chunk)
    return decoder.body()
