"""Providers that only any-llm knows, behind the same gate as all others."""

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent import futures
from contextlib import suppress
from typing import Protocol, TypeVar, TypeVarTuple

import trio

from agent_pipeline.config.environment import require_api_key
from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.role_models import KNOWN_ADDRESSES, ResolvedCall, RuntimeConfig
from agent_pipeline.control.call import Attempt, Call, fingerprint_of
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.scope import current_scope
from agent_pipeline.errors import ModelProtocolError, ProviderError, RequestRejectedError, StreamTruncatedError
from agent_pipeline.gateway.endpoints import keys_of, redactor_of
from agent_pipeline.gateway.failures import quoted
from agent_pipeline.gateway.foreign.answers import check_answer, usage_of
from agent_pipeline.gateway.foreign.arrivals import Arrivals
from agent_pipeline.gateway.foreign.clients import ForeignClient, MakeClient, known_ids, load_any_llm, make_client
from agent_pipeline.gateway.foreign.errors import classify, is_unreadable, refusal_of
from agent_pipeline.gateway.foreign.facts import read_facts
from agent_pipeline.gateway.foreign.requests import ForeignRequest, completion_request, embedding_request
from agent_pipeline.gateway.rate_headers import read_rate_headers

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CLOSING = 5.0
"""Seconds that clients may take to close their connections."""


class RunInAsyncio(Protocol):
    """Awaits a call in a lasting asyncio loop, under Trio; on cancellation the call is cancelled and awaited."""

    async def __call__(self, fn: Callable[[*Ts], Awaitable[T]], /, *args: *Ts) -> T:
        """Return what `fn` returns, raise what it raises."""
        ...


class ForeignProviders:
    """Asks providers that only any-llm knows; one client each, made at its first call, in the loop that serves all.

    Each call is one of the gate's: the clients try nothing again by themselves, as far as they can be told. Under Trio.

    Args:
        runtime: where the providers are, and their keys.
        gate: every request passes it.
        run_in_asyncio: the loop the clients live in.
        price_of: finds what a provider's model costs.
        connect_timeout: seconds; None is unlimited. This and the next bind clients made by Stainless (OpenAI's,
            Anthropic's and their like); the others have their own. The gate's bound on an attempt holds for all.
        read_timeout: seconds without a byte, likewise.
        addresses: by provider id, in the place of those any-llm knows.
        make: makes a client; another one is given where it is watched.
    """

    def __init__(
        self,
        runtime: RuntimeConfig,
        *,
        gate: Gate,
        run_in_asyncio: RunInAsyncio,
        price_of: FindPrice = find_price,
        connect_timeout: float | None = 5.0,
        read_timeout: float | None = 60.0,
        addresses: Mapping[str, str] | None = None,
        make: MakeClient = make_client,
    ) -> None:
        self._runtime = runtime
        self._gate = gate
        self._run_in_asyncio = run_in_asyncio
        self._price_of = price_of
        self._timeouts = {"connect": connect_timeout, "read": read_timeout}
        self._addresses = addresses or {}
        self._make = make
        self._clients: dict[str, ForeignClient] = {}
        self._making = trio.Lock()
        self._keys = keys_of(runtime)
        self._redactor = redactor_of(runtime)
        self._is_closed = False

    def serves(self, provider: str) -> bool:
        """Tell whether a provider of the config has no address and is one of any-llm's, which this may import.

        Raises:
            ConfigError: it has no address, and any-llm is not installed.
        """
        config = self._runtime.providers.get(provider)
        if config is None or config.base_url is not None or provider in KNOWN_ADDRESSES:
            return False
        return provider in known_ids()

    async def completion(self, call: ResolvedCall, messages: Iterable[object]) -> object:
        """Return any-llm's `ChatCompletion`; one that was cut off by the output cap is an answer too.

        Raises:
            ProviderError: what the gate could not cure.
            BudgetExceededError: the worst case does not fit; and what else `Gate.call` raises.
            ConfigError: a library is missing, or there is no key.
        """
        request = completion_request(call, messages, streamed=False, keys=self._keys)
        return await self._ask(call, request, functools.partial(self._answer, request))

    async def embedding(self, call: ResolvedCall, inputs: object) -> object:
        """Return any-llm's `CreateEmbeddingResponse` for a text or a list of them; errors as `completion`."""
        request = embedding_request(call, inputs, keys=self._keys)
        return await self._ask(call, request, functools.partial(self._answer, request))

    async def stream(self, call: ResolvedCall, messages: Iterable[object], take: Callable[[object], None]) -> None:
        """Hand each `ChatCompletionChunk` to `take`, under Trio, as it comes; return when the answer is whole.

        What `take` raises ends the stream and comes out. Nothing is handed on once it has ended.

        Raises:
            StreamBrokenError: it failed after its first chunk.
            ProviderError: it failed before, more often than the gate cures; and what else `completion` raises.
        """
        request = completion_request(call, messages, streamed=True, keys=self._keys)
        await self._ask(call, request, functools.partial(self._hand_on, request, take))

    async def aclose(self) -> None:
        """Close the clients' connections, also when cancelled; the loop is somebody else's to close."""
        self._is_closed = True
        clients, self._clients = list(self._clients.values()), {}
        with trio.move_on_after(_CLOSING, shield=True):
            for client in clients:
                with suppress(RuntimeError, futures.CancelledError):  # the loop has ended, and its connections with it
                    await self._run_in_asyncio(client.close)

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _ask(
        self, call: ResolvedCall, request: ForeignRequest, send: Callable[[ForeignClient, Attempt], Awaitable[T]]
    ) -> T:
        client = await self._client(call.provider)
        path = f"any-llm/{request.kind}"
        return await self._gate.call(
            Call(
                role=call.role,
                provider=call.provider,
                model=call.model,
                method="POST",
                path=path,
                input_tokens_bound=len(request.content),
                output_tokens_cap=request.output_tokens_cap,
                price=self._price_of(call.provider, call.model),
                scope=current_scope(),
                fingerprint=fingerprint_of(call.role, call.provider, call.model, path, content=request.content),
            ),
            functools.partial(send, client),
        )

    async def _client(self, provider: str) -> ForeignClient:
        async with self._making:
            if self._is_closed:
                msg = "these providers are closed"
                raise RuntimeError(msg)
            known = self._clients.get(provider)
            if known is None:
                key = require_api_key(provider, self._runtime.providers[provider])
                address = self._addresses.get(provider)
                await trio.to_thread.run_sync(load_any_llm)  # so that the loop which serves all goes on
                make = functools.partial(self._make, provider, key, address, self._timeouts)
                known = self._clients[provider] = await self._run_in_asyncio(_called, make)
            return known

    async def _answer(self, request: ForeignRequest, client: ForeignClient, attempt: Attempt) -> object:
        method = client.embed if request.kind == "embedding" else client.complete
        attempt.dispatch()
        begun = trio.current_time()
        try:
            answer = await self._run_in_asyncio(method, request.arguments())
        except Exception as exc:  # noqa: BLE001 - told in our words, by one table
            raise self._ours(exc, client, attempt, begun) from self._cause(exc)
        attempt.usage = usage_of(answer, request)
        check_answer(answer, request)
        return answer

    async def _hand_on(
        self, request: ForeignRequest, take: Callable[[object], None], client: ForeignClient, attempt: Attempt
    ) -> None:
        attempt.dispatch()
        begun = trio.current_time()
        with Arrivals(take, request, attempt) as arrivals:
            try:
                await self._run_in_asyncio(client.stream, request.arguments(), arrivals.put)
            except Exception as exc:  # noqa: BLE001 - likewise
                raise self._ours(exc, client, attempt, begun) from self._cause(exc)
        if not arrivals.is_whole:
            raise StreamTruncatedError(f"the stream ended after {arrivals.count} chunks without its last one")

    def _ours(self, error: Exception, client: ForeignClient, attempt: Attempt, begun: float) -> Exception:
        """Return the error of ours; that of a loop that was closed meanwhile stays as it is."""
        if isinstance(error, futures.CancelledError):
            return error
        place, hide = f"the provider {client.provider}", self._redactor.text
        refused = refusal_of(error)
        if refused is not None:
            return RequestRejectedError(f"{place} was not asked: {quoted(hide(refused))}")
        facts = read_facts(error)
        attempt.status_code, attempt.provider_request_id = facts.status, facts.request_id
        attempt.rate_headers = read_rate_headers(facts.headers)
        elapsed = trio.current_time() - begun
        ours = classify(
            error, attempt=attempt.number, place=place, elapsed=elapsed, timeouts=client.timeouts, hide=hide
        )
        if ours is not None:
            return ours
        if is_unreadable(error):
            return ModelProtocolError(f"the answer of {place} can't be read: {quoted(hide(str(error)))}")
        return ProviderError(f"{place} failed: {quoted(hide(str(error)))}")

    def _cause(self, error: Exception) -> Exception | None:
        """Return the error as the cause of ours; None where what it says holds a secret."""
        said = str(error)
        return error if self._redactor.text(said) == said else None


async def _called(fn: Callable[[], T]) -> T:
    return fn()
