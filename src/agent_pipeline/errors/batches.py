"""Why an item of a batch has no answer, where it is not the provider's doing, and what a batch refuses."""

from agent_pipeline.errors.root import AgentPipelineError


class CallFailedError(AgentPipelineError):
    """The code of an item raised something that no provider says; trying again can't help."""

    code = "call_failed"


class ItemDeadlineError(AgentPipelineError):
    """An item was worked on for longer than `timeout_per_item`; the others go on."""

    code = "item_deadline_exceeded"


class SkippedByMiddlewareError(AgentPipelineError):
    """A middleware's `before_process` gave no item back."""

    code = "skipped_by_middleware"


class MiddlewareError(AgentPipelineError):
    """A middleware's `before_process` raised, so nobody knows what should be sent."""

    code = "middleware_failed"


class BatchDeadlineError(AgentPipelineError):
    """The batch's own timeout ran out before this item ended."""

    code = "batch_deadline_exceeded"


class BatchAbortedError(AgentPipelineError):
    """The batch was ended early, by an error it was told to end at or by `abort`, before this item ended."""

    code = "batch_aborted"


class BatchCancelledError(AgentPipelineError):
    """Whoever ran the batch was cancelled before this item ended."""

    code = "batch_cancelled"


class BatchClosedError(AgentPipelineError):
    """Work was added to a batch that has ended; it is not in any result."""

    code = "batch_closed"


class QueueFullError(AgentPipelineError):
    """Nobody works on the queue yet, and it is full; the item was not taken."""

    code = "queue_full"


class DuplicateItemError(AgentPipelineError):
    """Two items of one batch have the same id, so neither could be told from the other; the second was not taken."""

    code = "duplicate_item"
