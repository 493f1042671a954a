"""What users put around each item: before it is sent, after it has ended, and when it failed."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from agent_pipeline.batch.calling import call_either
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.results import WorkItemResult
from agent_pipeline.errors import MiddlewareError, SkippedByMiddlewareError

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

_logger = logging.getLogger("agent_pipeline.batch")

PostProcessor = Callable[[WorkItemResult[TOutput, TContext]], Awaitable[None] | None]


class Middleware(Generic[TInput, TOutput, TContext]):
    """Stands around each item. Subclass it and replace what you need; all of it runs where the batch was opened.

    Several form a chain: `before_process` in their order, the other two in the opposite one.
    """

    async def before_process(
        self, work_item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> LLMWorkItem[TInput, TOutput, TContext] | None:
        """Return the item to work on, this or another one; None ends it as `skipped_by_middleware`.

        The result keeps the id of the item that was added, and takes the context of the one returned. What this
        raises ends the item as `middleware_failed`.
        """
        return work_item

    async def after_process(self, result: WorkItemResult[TOutput, TContext]) -> WorkItemResult[TOutput, TContext]:
        """Return the result to go on with, of a success or a failure; what this raises is logged and counted."""
        return result

    async def on_error(
        self, work_item: LLMWorkItem[TInput, TOutput, TContext], error: Exception
    ) -> WorkItemResult[TOutput, TContext] | None:
        """Return a result in place of the item's failure, or None; what this raises is logged and counted.

        `error` is one of this package, with a `code`; what it came from is its `__cause__`.
        """
        del work_item, error
        return None


class Hooks(Generic[TInput, TOutput, TContext]):
    """Calls middleware and post-processor; its methods run where the caller's code runs.

    Attributes:
        middleware_failures: what middleware raised, logged and passed over.
        post_processor_failures: likewise.
    """

    def __init__(
        self,
        middleware: Sequence[Middleware[TInput, TOutput, TContext]],
        post_processor: PostProcessor[TOutput, TContext] | None,
    ) -> None:
        self._middleware = tuple(middleware)
        self._post_processor = post_processor
        self.middleware_failures = 0
        self.post_processor_failures = 0

    @property
    def stand_around(self) -> bool:
        """Whether there is any middleware."""
        return bool(self._middleware)

    @property
    def follow_success(self) -> bool:
        """Whether there is a post-processor."""
        return self._post_processor is not None

    async def before(
        self, item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> LLMWorkItem[TInput, TOutput, TContext] | SkippedByMiddlewareError | MiddlewareError:
        """Return the item to work on, or why there is none."""
        for one in self._middleware:
            name = type(one).__name__
            try:
                changed = await one.before_process(item)
            except Exception as exc:
                _logger.exception("middleware %s failed before item %s", name, item.item_id)
                self.middleware_failures += 1
                error = MiddlewareError(f"{name}.before_process raised {type(exc).__name__}: {exc}")
                error.__cause__ = exc
                return error
            if changed is None:
                return SkippedByMiddlewareError(f"{name} gave no item back")
            item = changed
        return item

    async def rescue(
        self, item: LLMWorkItem[TInput, TOutput, TContext], error: Exception
    ) -> WorkItemResult[TOutput, TContext] | None:
        """Return the first result that a middleware has in place of the failure, None where none has."""
        for one in reversed(self._middleware):
            try:
                result = await one.on_error(item, error)
            except Exception:
                _logger.exception("middleware %s failed on the error of %s", type(one).__name__, item.item_id)
                self.middleware_failures += 1
                continue
            if result is not None:
                return result
        return None

    async def after(self, result: WorkItemResult[TOutput, TContext]) -> WorkItemResult[TOutput, TContext]:
        """Return the result as the chain leaves it."""
        for one in reversed(self._middleware):
            try:
                changed: object = await one.after_process(result)
            except Exception:
                _logger.exception("middleware %s failed after item %s", type(one).__name__, result.item_id)
                self.middleware_failures += 1
                continue
            if isinstance(changed, WorkItemResult):
                result = changed
            else:
                _logger.error("middleware %s returned no result for item %s", type(one).__name__, result.item_id)
                self.middleware_failures += 1
        return result

    async def post_process(self, result: WorkItemResult[TOutput, TContext]) -> None:
        """Call the post-processor; what it raises is logged and counted."""
        if self._post_processor is None:
            return
        try:
            await call_either(self._post_processor, result)
        except Exception:
            _logger.exception("the post-processor failed on item %s", result.item_id)
            self.post_processor_failures += 1
