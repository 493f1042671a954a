"""The only place that knows asyncio: Agents SDK runs inside a document's own loop, over Trio's connections.

Importing the SDK takes seconds and importing trio-asyncio replaces the process's asyncio policy, so both happen at the
first use of a name here, not on import of the package.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.bridge.agents import AgentBridge as AgentBridge
    from agent_pipeline.bridge.open_loop import DESCRIPTORS_PER_LOOP as DESCRIPTORS_PER_LOOP
    from agent_pipeline.bridge.session import DocumentSession as DocumentSession
    from agent_pipeline.bridge.task_tree import TaskTree as TaskTree
    from agent_pipeline.bridge.tracing import open_sdk_tracing as open_sdk_tracing

__all__ = ["DESCRIPTORS_PER_LOOP", "AgentBridge", "DocumentSession", "TaskTree", "open_sdk_tracing"]

__getattr__ = lazy_exports(
    __name__,
    {
        "AgentBridge": "agent_pipeline.bridge.agents",
        "DESCRIPTORS_PER_LOOP": "agent_pipeline.bridge.open_loop",
        "DocumentSession": "agent_pipeline.bridge.session",
        "TaskTree": "agent_pipeline.bridge.task_tree",
        "open_sdk_tracing": "agent_pipeline.bridge.tracing",
    },
)
