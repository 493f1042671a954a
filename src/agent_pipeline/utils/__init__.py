"""For notebooks and scripts: a pool of requests to one model, and values in a file that may change meanwhile.

Names are imported at their first use.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.errors import LLMRequestError as LLMRequestError
    from agent_pipeline.utils.llm_pool import LLMPool as LLMPool
    from agent_pipeline.utils.llm_pool import LLMPoolStatistics as LLMPoolStatistics
    from agent_pipeline.utils.llm_pool import LLMResponse as LLMResponse
    from agent_pipeline.utils.runtime_config import RuntimeConfig as RuntimeConfig

__all__ = [
    # requests to one model
    "LLMPool",
    "LLMPoolStatistics",
    "LLMRequestError",
    "LLMResponse",
    # values in a file
    "RuntimeConfig",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "LLMPool": "agent_pipeline.utils.llm_pool",
        "LLMPoolStatistics": "agent_pipeline.utils.llm_pool",
        "LLMRequestError": "agent_pipeline.errors",
        "LLMResponse": "agent_pipeline.utils.llm_pool",
        "RuntimeConfig": "agent_pipeline.utils.runtime_config",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
