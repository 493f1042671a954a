"""Many requests to one model, never more at once than allowed: for notebooks and scripts."""

import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from agent_pipeline import gateway as gateways  # imported at the first request
from agent_pipeline.bridge import Hosted, HostedLifetime
from agent_pipeline.config.environment import given_api_key
from agent_pipeline.config.limits import BudgetConfig, LimitsConfig
from agent_pipeline.config.params import output_cap
from agent_pipeline.config.role_models import ResolvedCall, RuntimeConfig
from agent_pipeline.config.roles import parse_runtime_config, resolve_role
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import AgentPipelineError, ConfigError, LLMRequestError
from agent_pipeline.utils.pool_arguments import (
    check_params,
    count_problem,
    names_of_the_pool,
    pool_limits,
    timeout_problem,
)

if TYPE_CHECKING:
    from agent_pipeline.control.gate import Gate

_ONE = "pool"
"""The name of its one provider and role."""


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """One answer.

    Attributes:
        content: its text; empty where the model only called a tool.
        prompt_tokens: as the provider reports them, 0 where it does not.
        completion_tokens: likewise.
        finish_reason: why the model stopped: `stop`, or `length` where `max_tokens` cut it short.
        raw: the provider's own answer.
    """

    content: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None = None
    raw: object = None


@dataclass(frozen=True, slots=True)
class LLMPoolStatistics:
    """Totals since the pool was made.

    Attributes:
        requests: asked for.
        succeeded: answered.
        failed: ended with an error, or cancelled.
        attempts: sent; more than requests where some were tried again.
        prompt_tokens: of all answers, also of those that were of no use.
        completion_tokens: likewise.
    """

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Totals:
    """Counted in two threads: where requests are asked for, and where they are sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, **more: int) -> None:
        with self._lock:
            for name, count in more.items():
                self._counts[name] = self._counts.get(name, 0) + count

    def record(self, attempt: AttemptRecord) -> None:
        if attempt.outcome is None or not attempt.sent:
            return
        usage = attempt.usage
        self.add(
            attempts=1,
            prompt_tokens=0 if usage is None else usage.input_tokens,
            completion_tokens=0 if usage is None else usage.output_tokens,
        )

    def read(self) -> LLMPoolStatistics:
        with self._lock:
            return LLMPoolStatistics(**self._counts)


@dataclass(frozen=True, slots=True)
class _Opened:
    calls: "gateways.RawCalls"
    gate: "Gate"


class LLMPool(HostedLifetime):
    """Asks one model at an OpenAI-compatible address; open it with `async with`, under Trio or asyncio.

    Never more than `max_inflight` requests are on the wire; others wait, first come, first served, and their waiting
    counts against no timeout. What may pass is tried again after a growing pause, and a 429 holds all back. A request
    that is cancelled has ended, and is counted, before its caller goes on.

    Args:
        base_url: of the API, such as `http://127.0.0.1:8080/v1`.
        api_key: a server of your own takes any.
        model: the name it knows.
        max_inflight: requests at once.
        timeout: seconds one attempt may take, from its first byte to the answer's last; None for no limit.
        max_attempts: of one request; a 429 uses none up.
        limits: more of what a pipeline's `limits` may hold, such as `requests_per_minute`, `budget`, `retry`.
        make_pool: makes the connections; for tests.

    Raises:
        ConfigError: one of these can't be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        max_inflight: int = 25,
        timeout: float | None = 300,
        max_attempts: int = 5,
        limits: Mapping[str, Any] | None = None,
        make_pool: "Callable[[], gateways.ConnectionPool] | None" = None,
    ) -> None:
        role = {"provider": _ONE, "model": model}
        providers = {_ONE: {"base_url": base_url, "api": "chat"}}
        if not isinstance(base_url, str):
            raise ConfigError(f"a text is wanted, such as 'http://127.0.0.1:8080/v1', not {base_url!r}", key="base_url")
        content = {"project": _ONE, "env": _ONE, "providers": providers, "roles": {_ONE: role}}
        with names_of_the_pool({}):
            runtime = parse_runtime_config(content)
        kept = pool_limits(max_inflight, timeout, max_attempts, {} if limits is None else limits)
        key, totals = given_api_key(api_key), _Totals()
        self._runtime = runtime
        self._totals = totals
        self._has_budget = kept.budget != BudgetConfig()
        self._hosted: Hosted[_Opened] = Hosted(lambda: _open(runtime, key, kept, totals, make_pool), name="LLMPool")

    async def request(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **params: Any,  # noqa: ANN401 - whatever the server knows
    ) -> LLMResponse:
        """Ask once; from Trio or asyncio, as often at once as you like.

        Args:
            messages: the conversation so far.
            temperature: None leaves it to the server.
            max_tokens: most tokens of the answer; likewise.
            params: other fields of the request, such as `top_p` or `response_format`.

        Raises:
            LLMRequestError: it failed for good.
            ConfigError: a param makes no sense, or the pool has a budget and nothing caps the answer; nothing was sent.
            TypeError: a param is none of a request.
        """
        check_params(params)
        with names_of_the_pool({}):
            call = resolve_role(self._runtime, _ONE, {"temperature": temperature, "max_tokens": max_tokens, **params})
        if self._has_budget and output_cap(call.params) is None:
            raise ConfigError("a pool with a budget needs max_tokens with each request", key="max_tokens")
        self._totals.add(requests=1)
        ended = "failed"
        try:
            response = await self._hosted.run(_ask, call, messages)
            ended = "succeeded"
        except AgentPipelineError as exc:
            raise LLMRequestError(exc) from exc
        finally:
            self._totals.add(**{ended: 1})
        return response

    def statistics(self) -> LLMPoolStatistics:
        """Totals so far; also when it is closed."""
        return self._totals.read()

    def set_max_inflight(self, count: int) -> None:
        """Let at most so many requests be on the wire, soon; what is in flight is left alone. From any thread.

        Raises:
            ValueError: not a whole number above 0.
            RuntimeError: the pool is not open.
        """
        problem = count_problem(count)
        if problem is not None:
            msg = f"max_inflight: {problem}"
            raise ValueError(msg)
        self._hosted.tell(lambda opened: opened.gate.set_limits(requests_in_flight=(1, count)))

    def set_timeout(self, timeout: float | None) -> None:
        """Bound attempts that begin from now on, in seconds; None for no limit. From any thread.

        Raises:
            ValueError: not a positive number.
            RuntimeError: the pool is not open.
        """
        problem = timeout_problem(timeout)
        if problem is not None:
            msg = f"timeout: {problem}"
            raise ValueError(msg)
        self._hosted.tell(lambda opened: opened.gate.set_attempt_timeout(timeout))


@asynccontextmanager
async def _open(
    runtime: RuntimeConfig,
    key: SecretStr | None,
    limits: LimitsConfig,
    totals: _Totals,
    make_pool: "Callable[[], gateways.ConnectionPool] | None",
) -> AsyncGenerator[_Opened]:
    base_url = runtime.providers[_ONE].base_url or ""
    endpoints = {_ONE: gateways.Endpoint(base_url, "chat", key)}
    budget = gateways.make_budget(limits, runtime)
    gate = gateways.make_gate(limits, budget=budget, record=totals.record, closes_for_good=False)
    async with gateways.open_raw_calls(runtime, endpoints, limits, gate=gate, make_pool=make_pool) as calls:
        yield _Opened(calls, gate)


async def _ask(opened: _Opened, call: ResolvedCall, messages: Sequence[Mapping[str, Any]]) -> LLMResponse:
    answer: Any = await opened.calls.completion(call, messages)
    choice, usage = answer.choices[0], answer.usage
    return LLMResponse(
        content=choice.message.content or "",
        prompt_tokens=0 if usage is None else usage.prompt_tokens,
        completion_tokens=0 if usage is None else usage.completion_tokens,
        finish_reason=choice.finish_reason,
        raw=answer,
    )
