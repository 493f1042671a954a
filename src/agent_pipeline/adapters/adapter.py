"""The interface of all adapters; a shared tracker is enforced around the calls of every one, also of users' own."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar
from weakref import WeakSet

from agent_pipeline.adapters.holding import Wanted, checked_answer, timed_out
from agent_pipeline.adapters.values import LLMAnswer, RunConfig, checked_config
from agent_pipeline.bridge import in_worker, within
from agent_pipeline.errors import LLMConfigError, LLMTimeoutError

FRAMING_TOKENS = 16
"""What a provider adds to one prompt: about 4 tokens a message and 3 for the answer's beginning."""

Sync = Callable[["LLMAdapter", str, RunConfig | None], LLMAnswer]
Async = Callable[["LLMAdapter", str, RunConfig | None], Awaitable[LLMAnswer]]

_enforcing: WeakSet[Callable[..., object]] = WeakSet()
"""The methods that have a tracker around them; an attribute would not do, as decorators copy those."""


class LLMAdapter(ABC):
    """One way to ask a model. A subclass writes `execute_prompt`; the rest is there.

    Around each call that comes with a tracker, the worst case is reserved on it before, and what was used is charged
    after: `execute_prompt` and `async_execute_prompt` of every subclass are wrapped for that when the class is made.
    A subclass that calls `super()` is charged once. See decision 0017.

    Attributes:
        max_tokens: the output cap where a call's config sets none; None is no cap.
    """

    max_tokens: int | None = None
    _charges_itself: ClassVar[bool] = False

    def __init_subclass__(cls, *, charges_itself: bool = False, **others: object) -> None:
        """Wrap the calls that the class defines; `charges_itself` is for those that hold on the tracker themselves."""
        super().__init_subclass__(**others)
        cls._charges_itself = charges_itself or cls._charges_itself
        if cls._charges_itself:
            return
        for name, wrap in (("execute_prompt", _enforced), ("async_execute_prompt", _enforced_async)):
            found = getattr(cls, name)
            # What comes from here needs none, what an adapter above has is wrapped, what a mixin brings is not.
            if found is not getattr(LLMAdapter, name) and found not in _enforcing:
                setattr(cls, name, wrap(found))

    @abstractmethod
    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Ask, and block until the answer is there.

        Raises:
            LLMBudgetExceededError: the worst case does not fit into what the tracker has left; nothing was sent.
            LLMTimeoutError: the call outlived `config.timeout`.
            LLMError: it failed otherwise.
        """

    async def async_execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Ask, from Trio or asyncio; errors as `execute_prompt`, which this calls in a worker thread.

        On cancellation, and after `config.timeout`, the caller goes on at once. The thread can't be stopped: what it
        has begun is charged when it ends, and until then all of it stays reserved.
        """
        config = checked_config(type(self).__name__, prompt, config)
        enforced = type(self).execute_prompt
        plain: Sync = getattr(enforced, "__wrapped__", enforced) if enforced in _enforcing else enforced
        ask = functools.partial(plain, self, prompt, config)
        wanted = None if self._charges_itself else _wanted(self, prompt, config)
        if wanted is None:
            return checked_answer(await within(config.timeout, _expired(self, config), in_worker, ask))
        return await within(config.timeout, _expired(self, config), _hold_in_worker, wanted, ask)

    def worst_case_tokens(self, prompt: str, config: RunConfig) -> int:
        """Return the most tokens that this adapter's own call can use; what is reserved while it goes on.

        By default the bytes of prompt and system prompt, which make no more tokens, and the output cap. An adapter
        that only hands calls on to others returns 0.

        Raises:
            LLMConfigError: there is no output cap, so that nobody can tell.
        """
        cap = config.max_tokens or self.max_tokens
        if cap is None:
            raise LLMConfigError(
                f"{type(self).__name__}: a call with a budget_tracker needs an output cap; "
                "set RunConfig(max_tokens=...) or the adapter's max_tokens"
            )
        return len(prompt.encode()) + len((config.system or "").encode()) + FRAMING_TOKENS + cap


def _enforced(plain: Sync) -> Sync:
    """Return the method with the tracker around it."""

    @functools.wraps(plain)
    def execute_prompt(self: LLMAdapter, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        if type(self).execute_prompt is not execute_prompt:
            return plain(self, prompt, config)  # by `super()`: the subclass's own is enforced
        config = checked_config(type(self).__name__, prompt, config)
        wanted = _wanted(self, prompt, config)
        if wanted is None:
            return checked_answer(plain(self, prompt, config))
        held, left = wanted.take()
        return held.around(functools.partial(plain, self, prompt, replace(config, timeout=left)))

    _enforcing.add(execute_prompt)
    return execute_prompt


def _enforced_async(plain: Async) -> Async:
    """Return the method with the tracker and the timeout around it."""

    @functools.wraps(plain)
    async def async_execute_prompt(self: LLMAdapter, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        if type(self).async_execute_prompt is not async_execute_prompt:
            return await plain(self, prompt, config)
        config = checked_config(type(self).__name__, prompt, config)
        wanted = _wanted(self, prompt, config)
        ask = functools.partial(plain, self, prompt, config)
        if wanted is None:
            return checked_answer(await within(config.timeout, _expired(self, config), ask))
        return await within(config.timeout, _expired(self, config), _hold_around, wanted, ask)

    _enforcing.add(async_execute_prompt)
    return async_execute_prompt


async def _hold_around(wanted: Wanted, ask: Callable[[], Awaitable[LLMAnswer]]) -> LLMAnswer:
    held = await wanted.take_async()
    return await held.around_async(ask)


async def _hold_in_worker(wanted: Wanted, ask: Callable[[], LLMAnswer]) -> LLMAnswer:
    held = await wanted.take_async()
    try:
        return await in_worker(held.around, ask)
    except BaseException:
        held.release_unused()  # cancelled before a thread was free
        raise


def _wanted(adapter: LLMAdapter, prompt: str, config: RunConfig) -> Wanted | None:
    """Return what a call needs on its tracker; None where it has none."""
    tracker = config.budget_tracker
    if tracker is None:
        return None
    return Wanted(tracker, adapter.worst_case_tokens(prompt, config), config.timeout, type(adapter).__name__)


def _expired(adapter: LLMAdapter, config: RunConfig) -> Callable[[], LLMTimeoutError]:
    return functools.partial(timed_out, type(adapter).__name__, config.timeout)
