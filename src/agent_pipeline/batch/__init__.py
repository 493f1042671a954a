"""Batches of calls: many items, each with exactly one result."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.batch.batch_api import BatchAPIProcessor as BatchAPIProcessor
    from agent_pipeline.batch.batch_api_input import BatchRequest as BatchRequest

__all__ = ["BatchAPIProcessor", "BatchRequest"]

__getattr__ = lazy_exports(
    __name__,
    {
        "BatchAPIProcessor": "agent_pipeline.batch.batch_api",
        "BatchRequest": "agent_pipeline.batch.batch_api_input",
    },
)
