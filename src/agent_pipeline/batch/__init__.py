"""Batches: many items, one result each, on one gate, from Trio or asyncio.

PydanticAI agents need the extra `pydantic-ai`: docs/optional-dependencies.md says where it is installed from.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.batch.batch_api import BatchAPIProcessor as BatchAPIProcessor
    from agent_pipeline.batch.batch_api import BatchCharge as BatchCharge
    from agent_pipeline.batch.batch_api_input import BatchRequest as BatchRequest
    from agent_pipeline.batch.batch_api_part import BatchProgress as BatchProgress
    from agent_pipeline.batch.config import ProcessorConfig as ProcessorConfig
    from agent_pipeline.batch.events import BatchEvent as BatchEvent
    from agent_pipeline.batch.events import ProcessorObserver as ProcessorObserver
    from agent_pipeline.batch.items import LLMWorkItem as LLMWorkItem
    from agent_pipeline.batch.middleware import Middleware as Middleware
    from agent_pipeline.batch.mock import MockAgent as MockAgent
    from agent_pipeline.batch.processor import BatchProcessor as BatchProcessor
    from agent_pipeline.batch.processor import ParallelBatchProcessor as ParallelBatchProcessor
    from agent_pipeline.batch.results import BatchResult as BatchResult
    from agent_pipeline.batch.results import TokenUsage as TokenUsage
    from agent_pipeline.batch.results import WorkItemResult as WorkItemResult

__all__ = [
    # work and its results
    "LLMWorkItem",
    "WorkItemResult",
    "BatchResult",
    "TokenUsage",
    # who works on it
    "BatchProcessor",
    "ParallelBatchProcessor",
    "ProcessorConfig",
    # who has a provider work on it, for less
    "BatchAPIProcessor",
    "BatchRequest",
    "BatchCharge",
    "BatchProgress",
    # around it
    "Middleware",
    "ProcessorObserver",
    "BatchEvent",
    # without a model
    "MockAgent",
]

_ROOM = "agent_pipeline.batch"

__getattr__ = lazy_exports(
    __name__,
    {
        "BatchAPIProcessor": f"{_ROOM}.batch_api",
        "BatchCharge": f"{_ROOM}.batch_api",
        "BatchEvent": f"{_ROOM}.events",
        "BatchProgress": f"{_ROOM}.batch_api_part",
        "BatchProcessor": f"{_ROOM}.processor",
        "BatchRequest": f"{_ROOM}.batch_api_input",
        "BatchResult": f"{_ROOM}.results",
        "LLMWorkItem": f"{_ROOM}.items",
        "Middleware": f"{_ROOM}.middleware",
        "MockAgent": f"{_ROOM}.mock",
        "ParallelBatchProcessor": f"{_ROOM}.processor",
        "ProcessorConfig": f"{_ROOM}.config",
        "ProcessorObserver": f"{_ROOM}.events",
        "TokenUsage": f"{_ROOM}.results",
        "WorkItemResult": f"{_ROOM}.results",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
