"""For notebooks and scripts: a pool of requests to one model.

Names are imported at their first use.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.utils.llm_pool import LLMPool as LLMPool
    from agent_pipeline.utils.llm_pool import LLMPoolStatistics as LLMPoolStatistics
    from agent_pipeline.utils.llm_pool import LLMRequestError as LLMRequestError
    from agent_pipeline.utils.llm_pool import LLMResponse as LLMResponse

__all__ = ["LLMPool", "LLMPoolStatistics", "LLMRequestError", "LLMResponse"]

__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "agent_pipeline.utils.llm_pool"))


def __dir__() -> list[str]:
    return sorted(__all__)
