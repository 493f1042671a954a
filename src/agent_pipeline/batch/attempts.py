"""All attempts of one item, through the gate: what it used, where its time went, how it ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from agent_pipeline.batch.classification import classify
from agent_pipeline.batch.config import ProcessorConfig
from agent_pipeline.batch.events import AttemptFailed, BatchEvent, ItemAdmitted, RateLimitHit
from agent_pipeline.batch.invocation import Reply
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.refusals import Refusals
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage, WaitReason
from agent_pipeline.errors import AgentPipelineError, CallFailedError, ItemDeadlineError, RateLimitedError

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

Invoke = Callable[[LLMWorkItem[TInput, TOutput, TContext], int, float], Awaitable[Reply[TOutput]]]

_OWN_PAUSES: tuple[WaitReason, ...] = ("backoff", "retry_after")


class _FinalError(Exception):
    """Carries an error through the gate that no other attempt may follow; never leaves this module."""

    def __init__(self, error: AgentPipelineError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Spent:
    """What the attempts of one item have used up so far.

    Attributes:
        attempts: 429s are none.
        executing: seconds.
        waits: seconds by reason, by attempt; one that is held back and sent later tells them again, with more.
    """

    usage: Usage = field(default_factory=Usage)
    attempts: int = 0
    rate_limits: int = 0
    executing: float = 0.0
    waits: dict[str, dict[WaitReason, float]] = field(default_factory=dict)

    def waited(self, *reasons: WaitReason) -> float:
        """Return the seconds waited for these reasons."""
        return sum(waits.get(reason, 0.0) for waits in self.waits.values() for reason in reasons)

    def pauses(self) -> float:
        """Return the seconds between its own attempts."""
        return self.waited(*_OWN_PAUSES)


class ItemAttempts(Generic[TInput, TOutput, TContext]):
    """Asks the gate until an item has an answer or the gate gives up; counts on the way, also when cancelled.

    Args:
        item: what is asked.
        gate: decides whether, when and how often.
        config: timeouts, and what is held.
        invoke: makes one attempt.
        refusals: of all items together.
        emit: takes events.
        on_rate_limit: told of each 429, with the lane's key.
        spent: counts; readable by others also when this is cancelled.
    """

    def __init__(
        self,
        item: LLMWorkItem[TInput, TOutput, TContext],
        *,
        gate: Gate,
        config: ProcessorConfig,
        invoke: Invoke[TInput, TOutput, TContext],
        refusals: Refusals,
        emit: Callable[[BatchEvent], None],
        on_rate_limit: Callable[[tuple[str, str]], None],
        spent: Spent,
    ) -> None:
        self._item = item
        self._gate = gate
        self._config = config
        self._invoke = invoke
        self._refusals = refusals
        self._emit = emit
        self._on_rate_limit = on_rate_limit
        self._lane = (item.lane, _model_of(item.agent))
        self.spent = spent

    async def run(self) -> TOutput | None:
        """Return the output.

        Raises:
            AgentPipelineError: what the gate could not cure.
        """
        lane, model = self._lane
        call = Call(
            role="batch",
            provider=lane,
            model=model,
            method="",
            path="",
            input_tokens_bound=self._config.tokens_per_attempt or len(self._item.prompt.encode()),
            output_tokens_cap=0,
            price=None,
            scope=CallScope(document_id=self._item.item_id),
        )
        try:
            return await self._gate.call(call, self._send)
        except _FinalError as exc:
            raise exc.error from exc.error.__cause__

    async def _send(self, attempt: Attempt) -> TOutput | None:
        spent, item_id = self.spent, self._item.item_id
        spent.waits[attempt.attempt_id] = dict(attempt.waits)
        left = self._time_left()
        attempt.dispatch()
        spent.attempts = attempt.number
        self._emit(ItemAdmitted(item_id, attempt.number, sum(attempt.waits.values())))
        begun = trio.current_time()
        reply: Reply[TOutput] | None = None
        try:
            with trio.move_on_after(left):
                reply = await self._invoke(self._item, attempt.number, min(left, self._attempt_timeout()))
        finally:
            spent.executing += trio.current_time() - begun
        if reply is None:
            raise self._deadline_passed()
        attempt.usage = reply.usage
        spent.usage += reply.usage or Usage()
        if reply.error is not None:
            raise self._judge(reply.error, attempt.number, trio.current_time() - begun)
        self._refusals.answered(self._item.lane)
        return reply.output

    def _judge(self, foreign: Exception, number: int, seconds: float) -> Exception:
        """Return what an attempt ended with, as the gate is to see it.

        An error of ours comes from a gate that has done what could be done, so there it ends. A refusal is the item's
        alone until several came in a row.
        """
        known = classify(foreign, number, timeout=seconds)
        error: AgentPipelineError
        if known is None:
            error = CallFailedError(f"{type(foreign).__name__}: {foreign}".removesuffix(": "))
            error.__cause__ = foreign
        else:
            error = known
        is_own = known is not None and known.__cause__ is not foreign
        is_final = is_own or (error.disposition == "fail_run" and not self._refusals.concern_all(self._item.lane))
        self._emit(AttemptFailed(self._item.item_id, number, error.code, str(error)))
        if is_final:
            return _FinalError(error)
        if isinstance(error, RateLimitedError):
            # A 429 is no attempt: the next one has this number again.
            self.spent.attempts = number - 1
            self.spent.rate_limits += 1
            self._emit(RateLimitHit(self._item.item_id, self._item.lane, error.retry_after))
            self._on_rate_limit(self._lane)
        return error

    def _attempt_timeout(self) -> float:
        timeout = self._config.attempt_timeout
        return float("inf") if timeout is None else timeout

    def _time_left(self) -> float:
        """Return the seconds that are left to this item; what others made it wait for does not count."""
        timeout = self._config.timeout_per_item
        if timeout is None:
            return float("inf")
        left = timeout - self.spent.executing - self.spent.pauses()
        if left <= 0:
            raise self._deadline_passed()
        return left

    def _deadline_passed(self) -> ItemDeadlineError:
        timeout = self._config.timeout_per_item or 0.0
        return ItemDeadlineError(
            f"the item exceeded its {timeout:g} s timeout: {self.spent.executing:.1f} s in attempts, "
            f"{self.spent.pauses():.1f} s in pauses between them"
        )


def _model_of(agent: object) -> str:
    """Return the name of an agent's model, empty where it names none."""
    model = getattr(agent, "model", None)
    for name in (model, getattr(model, "model_name", None), getattr(model, "model", None)):
        if isinstance(name, str):
            return name
    return ""
