"""The SDK's lifecycle callbacks as events."""

from typing import Any

import agents as sdk

from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.events import AgentEvent
from agent_pipeline.domain.ports import Emit


class LifecycleEvents(sdk.RunHooks[Any]):
    """Emits one event per step of an agent's run: names and tools, never prompts or texts."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def _tell(self, event: str, agent: Any, detail: str | None = None) -> None:
        scope = current_scope()
        self._emit(AgentEvent(event, scope.document_id, scope.stage, agent=agent.name, detail=detail))

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """Tell that an agent starts, also after a handoff."""
        self._tell("agent_start", agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """Tell that an agent gave its final output."""
        self._tell("agent_end", agent)

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        """Tell that the model is about to be asked."""
        self._tell("llm_start", agent)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """Tell that the model answered."""
        self._tell("llm_end", agent)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """Tell which tool is called."""
        self._tell("tool_start", agent, tool.name)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """Tell that the tool returned."""
        self._tell("tool_end", agent, tool.name)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """Tell who takes over."""
        self._tell("handoff", from_agent, to_agent.name)
