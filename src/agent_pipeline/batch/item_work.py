"""All that one item needs: middleware, attempts, middleware, post-processor."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from agent_pipeline.batch.attempts import Invoke, ItemAttempts
from agent_pipeline.batch.config import ProcessorConfig
from agent_pipeline.batch.events import BatchEvent
from agent_pipeline.batch.flow import Entry
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.middleware import Hooks
from agent_pipeline.batch.refusals import Refusals
from agent_pipeline.batch.results import ItemTiming, WorkItemResult, as_token_usage
from agent_pipeline.bridge import Caller
from agent_pipeline.control.gate import Gate
from agent_pipeline.errors import AgentPipelineError

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")


class ItemWork(Generic[TInput, TOutput, TContext]):
    """Brings items to their results, as soon as there is one also into `Entry.known`.

    Args:
        config: timeouts, and what is held.
        gate: every attempt passes it.
        hooks: around each item.
        caller: where hooks run.
        invoke: makes one attempt.
        emit: takes events.
        on_rate_limit: told of each 429, with the lane's key.
    """

    def __init__(
        self,
        config: ProcessorConfig,
        *,
        gate: Gate,
        hooks: Hooks[TInput, TOutput, TContext],
        caller: Caller,
        invoke: Invoke[TInput, TOutput, TContext],
        emit: Callable[[BatchEvent], None],
        on_rate_limit: Callable[[tuple[str, str]], None],
    ) -> None:
        self._config = config
        self._gate = gate
        self._hooks = hooks
        self._caller = caller
        self._invoke = invoke
        self._emit = emit
        self._on_rate_limit = on_rate_limit
        self._refusals = Refusals()

    async def process(
        self, entry: Entry[TInput, TOutput, TContext], item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> WorkItemResult[TOutput, TContext]:
        """Return the item's result; cancelled, what was known by then is kept."""
        hooks = self._hooks
        result = entry.known = await self._answer(entry, item)
        if hooks.stand_around:
            result = entry.known = await self._caller.run(hooks.after, result)
        if result.success and hooks.follow_success:
            await self._caller.run(hooks.post_process, result)
        return result

    async def _answer(
        self, entry: Entry[TInput, TOutput, TContext], item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> WorkItemResult[TOutput, TContext]:
        hooks = self._hooks
        if hooks.stand_around:
            changed = await self._caller.run(hooks.before, item)
            if isinstance(changed, AgentPipelineError):
                return ended_without(entry, item, changed)
            item = changed
        attempts: ItemAttempts[TInput, TOutput, TContext] = ItemAttempts(
            item,
            gate=self._gate,
            config=self._config,
            invoke=self._invoke,
            refusals=self._refusals,
            emit=self._emit,
            on_rate_limit=self._on_rate_limit,
            spent=entry.spent,
        )
        try:
            output = await attempts.run()
        except AgentPipelineError as exc:
            entry.known = ended_without(entry, item, exc)
            rescued = await self._caller.run(hooks.rescue, item, exc) if hooks.stand_around else None
            if rescued is None:
                return entry.known
            known = entry.known  # a middleware can't know what was used
            return replace(
                rescued, token_usage=known.token_usage, attempts=known.attempts, rate_limits=known.rate_limits
            )
        return replace(ended_without(entry, item, None), success=True, output=output)


def ended_without(
    entry: Entry[TInput, TOutput, TContext],
    item: LLMWorkItem[TInput, TOutput, TContext],
    error: AgentPipelineError | None,
) -> WorkItemResult[TOutput, TContext]:
    """Return the result of an item without an output, with all that it has used."""
    spent = entry.spent
    return WorkItemResult(
        item_id=entry.item.item_id,
        success=False,
        error=None if error is None else str(error),
        error_code=None if error is None else error.code,
        context=item.context,
        token_usage=as_token_usage(spent.usage),
        attempts=spent.attempts,
        rate_limits=spent.rate_limits,
    )


def timing_of(entry: Entry[TInput, TOutput, TContext], now: float) -> ItemTiming:
    """Return where the time of an item went that ends now."""
    spent = entry.spent
    cooldown, backoff = spent.waited("cooldown"), spent.pauses()
    if entry.taken_at is None:
        return ItemTiming(queued=now - entry.added_at)
    waiting = max(0.0, now - entry.taken_at - spent.executing - cooldown - backoff)
    return ItemTiming(
        queued=entry.taken_at - entry.added_at,
        waiting=waiting,
        cooldown=cooldown,
        backoff=backoff,
        executing=spent.executing,
    )
