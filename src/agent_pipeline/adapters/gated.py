"""Adapters behind a gate of their own, under Trio, for callers of every flavour; the gate holds on the tracker."""

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol, final

import trio
from pydantic import ValidationError

from agent_pipeline.adapters.adapter import LLMAdapter
from agent_pipeline.adapters.holding import may_wait, timed_out
from agent_pipeline.adapters.values import LLMAnswer, RunConfig, checked_config
from agent_pipeline.bridge import Hosted, HostedLifetime, current_flavour
from agent_pipeline.config.limits import BudgetConfig, LimitsConfig
from agent_pipeline.config.misfit import first_misfit
from agent_pipeline.control.budget import SharedBudget
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.errors import (
    LLMConfigError,
    LLMTimeoutError,
    WaitTooLongError,
)

Limits = LimitsConfig | Mapping[str, object]
"""As `limits` of a pipeline file; what speaks of documents has no meaning here."""


class Asked(Protocol):
    """What asks a model, under Trio, behind a gate."""

    async def ask(self, prompt: str, config: RunConfig) -> LLMAnswer:
        """Make one call; room on the tracker is held per attempt, by the gate."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterStatistics:
    """What an adapter's calls came to.

    Attributes:
        attempts: requests sent, or commands begun.
        usage: tokens reported, those of failed attempts too.
        charged_tokens: these, and the worst case of attempts that nobody reported on.
        cost_micro_usd: what is known of the cost.
    """

    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    charged_tokens: int = 0
    cost_micro_usd: int = 0


class Tally:
    """Sums up attempts; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = AdapterStatistics()

    def record(self, attempt: AttemptRecord) -> None:
        """Count an attempt once it has ended."""
        if attempt.outcome is None or not attempt.sent:
            return
        with self._lock:
            so_far = self._sum
            self._sum = AdapterStatistics(
                so_far.attempts + 1,
                so_far.usage + (attempt.usage or Usage()),
                so_far.charged_tokens + attempt.charged_tokens,
                so_far.cost_micro_usd + (attempt.cost_micro_usd or 0),
            )

    def add_cost(self, micro_usd: int) -> None:
        """Count money that somebody else than the gate knows of."""
        with self._lock:
            self._sum = replace(self._sum, cost_micro_usd=self._sum.cost_micro_usd + micro_usd)

    def statistics(self) -> AdapterStatistics:
        """Snapshot."""
        with self._lock:
            return self._sum


class GatedAdapter(HostedLifetime, LLMAdapter, charges_itself=True):
    """Retries, pauses, deadlines and charges are the gate's; each attempt holds its own room on the tracker.

    `async with` (or `with`) closes it; what is not closed ends with the object, or with the process. A caller that is
    cancelled goes on once what it asked for has ended and is charged.

    Args:
        open_asked: opens what asks, under Trio.
        tally: what its gate records to.
        max_tokens: the output cap where a call's config sets none.
    """

    def __init__(
        self, open_asked: Callable[[], AbstractAsyncContextManager[Asked]], *, tally: Tally, max_tokens: int | None
    ) -> None:
        self._hosted = Hosted(open_asked, name=type(self).__name__)
        self._tally = tally
        self.max_tokens = max_tokens

    @final
    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Ask, and block until the answer is there; errors as `LLMAdapter.execute_prompt`.

        Raises:
            RuntimeError: called under Trio in the very run that has to answer it; await `async_execute_prompt`.
        """
        waits = may_wait() and current_flavour() == "sync"  # a loop that is blocked here may hold what is waited for
        return self._hosted.run_sync(_ask, prompt, *self._prepared(prompt, config), waits)

    @final
    async def async_execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Ask, from Trio or asyncio; errors as `LLMAdapter.execute_prompt`."""
        return await self._hosted.run(_ask, prompt, *self._prepared(prompt, config), may_wait())

    def _prepared(self, prompt: str, config: RunConfig | None) -> tuple[RunConfig, str]:
        """Return the call's config with the adapter's cap, and who asks."""
        config = checked_config(type(self).__name__, prompt, config)
        config = replace(config, max_tokens=config.max_tokens or self.max_tokens)
        if config.budget_tracker is not None:
            self.worst_case_tokens(prompt, config)
        return config, type(self).__name__

    def statistics(self) -> AdapterStatistics:
        """Return what all calls so far came to."""
        return self._tally.statistics()


async def _ask(asked: Asked, prompt: str, config: RunConfig, who: str, may_wait: bool) -> LLMAnswer:  # noqa: FBT001
    """Ask under the call's own deadline and tracker."""
    tracker, timeout = config.budget_tracker, config.timeout
    budget = None if tracker is None else SharedBudget(tracker, may_wait=may_wait)
    try:
        with call_scope(CallScope(budget=budget)), trio.move_on_after(math.inf if timeout is None else timeout):
            answer = await asked.ask(prompt, config)
            return answer if tracker is None else replace(answer, charged_to=(tracker,))
    except WaitTooLongError as exc:
        raise LLMTimeoutError(f"{who}: {exc}", timeout=timeout or 0.0) from exc
    raise timed_out(who, timeout)


def read_limits(limits: Limits | None, usual: Mapping[str, object]) -> LimitsConfig:
    """Return limits as a value; what they leave out is as `usual` has it.

    Raises:
        LLMConfigError: they are not what `limits` of a pipeline file may be, or hold a budget, which is a tracker here.
    """
    if not isinstance(limits, LimitsConfig | Mapping | None):
        raise LLMConfigError(f"limits is a mapping, such as {{'requests_in_flight': 8}}, not {limits!r}")
    try:
        read = limits if isinstance(limits, LimitsConfig) else LimitsConfig.model_validate({**usual, **(limits or {})})
    except ValidationError as exc:
        place, why = first_misfit(exc)
        raise LLMConfigError(f"limits.{place}: {why}") from exc
    if BudgetConfig() != read.budget or BudgetConfig() != read.budget_per_document:
        raise LLMConfigError("limits.budget: an adapter's budget is the BudgetTracker of a call's RunConfig")
    return read
