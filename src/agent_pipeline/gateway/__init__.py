"""The way to the providers: pool and transport owned by Trio, instrumented OpenAI clients, direct calls by role.

Importing the OpenAI client takes over a second, so it happens at the first use of `Gateway` or `RoleClient`.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.gateway.endpoint import OPENAI_URL as OPENAI_URL
    from agent_pipeline.gateway.endpoint import Endpoint as Endpoint
    from agent_pipeline.gateway.endpoints import endpoints_with_keys as endpoints_with_keys
    from agent_pipeline.gateway.foreign import ForeignProviders as ForeignProviders
    from agent_pipeline.gateway.gates import make_budget as make_budget
    from agent_pipeline.gateway.gates import make_gate as make_gate
    from agent_pipeline.gateway.gateway import Gateway as Gateway
    from agent_pipeline.gateway.opening import open_gateway as open_gateway
    from agent_pipeline.gateway.pool import ConnectionPool as ConnectionPool
    from agent_pipeline.gateway.pool import open_pool as open_pool
    from agent_pipeline.gateway.raw_calls import RawCalls as RawCalls
    from agent_pipeline.gateway.raw_calls import open_raw_calls as open_raw_calls
    from agent_pipeline.gateway.recording.recorder import open_recorder as open_recorder
    from agent_pipeline.gateway.recording.recorder import recording_pool as recording_pool
    from agent_pipeline.gateway.recording.replay import Replay as Replay
    from agent_pipeline.gateway.recording.replay import at_once as at_once
    from agent_pipeline.gateway.recording.replay import replay_pool as replay_pool
    from agent_pipeline.gateway.roles import RoleClient as RoleClient

__all__ = [
    "OPENAI_URL",
    "ConnectionPool",
    "Endpoint",
    "ForeignProviders",
    "Gateway",
    "RawCalls",
    "Replay",
    "RoleClient",
    "at_once",
    "endpoints_with_keys",
    "make_budget",
    "make_gate",
    "open_gateway",
    "open_pool",
    "open_raw_calls",
    "open_recorder",
    "recording_pool",
    "replay_pool",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "OPENAI_URL": "agent_pipeline.gateway.endpoint",
        "ConnectionPool": "agent_pipeline.gateway.pool",
        "Endpoint": "agent_pipeline.gateway.endpoint",
        "ForeignProviders": "agent_pipeline.gateway.foreign",
        "Gateway": "agent_pipeline.gateway.gateway",
        "RawCalls": "agent_pipeline.gateway.raw_calls",
        "Replay": "agent_pipeline.gateway.recording.replay",
        "RoleClient": "agent_pipeline.gateway.roles",
        "at_once": "agent_pipeline.gateway.recording.replay",
        "endpoints_with_keys": "agent_pipeline.gateway.endpoints",
        "make_budget": "agent_pipeline.gateway.gates",
        "make_gate": "agent_pipeline.gateway.gates",
        "open_gateway": "agent_pipeline.gateway.opening",
        "open_pool": "agent_pipeline.gateway.pool",
        "open_raw_calls": "agent_pipeline.gateway.raw_calls",
        "open_recorder": "agent_pipeline.gateway.recording.recorder",
        "recording_pool": "agent_pipeline.gateway.recording.recorder",
        "replay_pool": "agent_pipeline.gateway.recording.replay",
    },
)
