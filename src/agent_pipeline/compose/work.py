"""What a run is to do, found usable before anything is opened."""

from collections.abc import Callable
from dataclasses import dataclass

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.runtime import Provider, Runtime
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import Source
from agent_pipeline.pipeline.stage import PlannedStage


@dataclass(frozen=True, slots=True)
class Work:
    """Documents, the stages they go through, and who answers.

    Attributes:
        on_open: is given the open parts before the first document begins.
    """

    config: PipelineConfig
    options: RunOptions
    stages: tuple[PlannedStage, ...]
    source: Source
    provider: Provider
    on_open: Callable[[Runtime], None]
