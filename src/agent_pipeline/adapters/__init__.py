"""Ways to ask a model that any program can call: from Trio, asyncio or ordinary code, with one budget for several."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.adapters.adapter import LLMAdapter as LLMAdapter
    from agent_pipeline.adapters.claude_code import ClaudeCodeAdapter as ClaudeCodeAdapter
    from agent_pipeline.adapters.gated import AdapterStatistics as AdapterStatistics
    from agent_pipeline.adapters.services import GeminiAdapter as GeminiAdapter
    from agent_pipeline.adapters.services import OpenAIAdapter as OpenAIAdapter
    from agent_pipeline.adapters.services import OpenRouterAdapter as OpenRouterAdapter
    from agent_pipeline.adapters.values import LLMAnswer as LLMAnswer
    from agent_pipeline.adapters.values import RunConfig as RunConfig
    from agent_pipeline.control.tracker import BudgetTracker as BudgetTracker
    from agent_pipeline.errors import LLMBudgetExceededError as LLMBudgetExceededError
    from agent_pipeline.errors import LLMConfigError as LLMConfigError
    from agent_pipeline.errors import LLMError as LLMError
    from agent_pipeline.errors import LLMTimeoutError as LLMTimeoutError

__all__ = [
    # ways to ask
    "LLMAdapter",
    "OpenAIAdapter",
    "GeminiAdapter",
    "OpenRouterAdapter",
    "ClaudeCodeAdapter",
    # a call and its answer
    "AdapterStatistics",
    "BudgetTracker",
    "LLMAnswer",
    "RunConfig",
    # errors
    "LLMError",
    "LLMBudgetExceededError",
    "LLMConfigError",
    "LLMTimeoutError",
]

_ERRORS = "agent_pipeline.errors"

__getattr__ = lazy_exports(
    __name__,
    {
        "AdapterStatistics": "agent_pipeline.adapters.gated",
        "BudgetTracker": "agent_pipeline.control.tracker",
        "ClaudeCodeAdapter": "agent_pipeline.adapters.claude_code",
        "LLMAdapter": "agent_pipeline.adapters.adapter",
        "LLMAnswer": "agent_pipeline.adapters.values",
        "LLMBudgetExceededError": _ERRORS,
        "LLMConfigError": _ERRORS,
        "LLMError": _ERRORS,
        "LLMTimeoutError": _ERRORS,
        "GeminiAdapter": "agent_pipeline.adapters.services",
        "OpenAIAdapter": "agent_pipeline.adapters.services",
        "OpenRouterAdapter": "agent_pipeline.adapters.services",
        "RunConfig": "agent_pipeline.adapters.values",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
