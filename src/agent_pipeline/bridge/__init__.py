"""The only place that knows asyncio: Agents SDK runs inside a document's own loop, over Trio's connections.

Importing the SDK takes seconds and importing trio-asyncio replaces the process's asyncio policy, so both happen at the
first use of a name here, not on import of the package.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.bridge.agents import AgentBridge as AgentBridge
    from agent_pipeline.bridge.asyncio_thread import AsyncioThread as AsyncioThread
    from agent_pipeline.bridge.caller import Caller as Caller
    from agent_pipeline.bridge.crossing import current_flavour as current_flavour
    from agent_pipeline.bridge.either import Wakeup as Wakeup
    from agent_pipeline.bridge.either import in_worker as in_worker
    from agent_pipeline.bridge.either import within as within
    from agent_pipeline.bridge.hosted import Hosted as Hosted
    from agent_pipeline.bridge.lifetime import HostedLifetime as HostedLifetime
    from agent_pipeline.bridge.open_loop import DESCRIPTORS_PER_LOOP as DESCRIPTORS_PER_LOOP
    from agent_pipeline.bridge.openinference import OpenInferenceSpans as OpenInferenceSpans
    from agent_pipeline.bridge.own_thread import run_in_own_thread as run_in_own_thread
    from agent_pipeline.bridge.session import DocumentSession as DocumentSession
    from agent_pipeline.bridge.span_copy import portable_span as portable_span
    from agent_pipeline.bridge.task_tree import TaskTree as TaskTree
    from agent_pipeline.bridge.tracing import open_sdk_tracing as open_sdk_tracing

__all__ = [
    # agents in documents' loops
    "DESCRIPTORS_PER_LOOP",
    "AgentBridge",
    "DocumentSession",
    "OpenInferenceSpans",
    "TaskTree",
    "open_sdk_tracing",
    "portable_span",
    # callers and guests of other flavours; these need neither the SDK nor trio-asyncio
    "AsyncioThread",
    "Caller",
    "Hosted",
    "HostedLifetime",
    "Wakeup",
    "current_flavour",
    "in_worker",
    "run_in_own_thread",
    "within",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "AsyncioThread": "agent_pipeline.bridge.asyncio_thread",
        "Caller": "agent_pipeline.bridge.caller",
        "Hosted": "agent_pipeline.bridge.hosted",
        "HostedLifetime": "agent_pipeline.bridge.lifetime",
        "run_in_own_thread": "agent_pipeline.bridge.own_thread",
        "current_flavour": "agent_pipeline.bridge.crossing",
        "Wakeup": "agent_pipeline.bridge.either",
        "in_worker": "agent_pipeline.bridge.either",
        "within": "agent_pipeline.bridge.either",
        "AgentBridge": "agent_pipeline.bridge.agents",
        "portable_span": "agent_pipeline.bridge.span_copy",
        "DESCRIPTORS_PER_LOOP": "agent_pipeline.bridge.open_loop",
        "DocumentSession": "agent_pipeline.bridge.session",
        "TaskTree": "agent_pipeline.bridge.task_tree",
        "OpenInferenceSpans": "agent_pipeline.bridge.openinference",
        "open_sdk_tracing": "agent_pipeline.bridge.tracing",
    },
)
