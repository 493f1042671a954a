"""The only place that wires concrete parts: a config file becomes a `Pipeline` that runs."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.compose.options import RunOptions as RunOptions
    from agent_pipeline.compose.pipeline import Pipeline as Pipeline

__all__ = ["Pipeline", "RunOptions"]

__getattr__ = lazy_exports(
    __name__, {"Pipeline": "agent_pipeline.compose.pipeline", "RunOptions": "agent_pipeline.compose.options"}
)
