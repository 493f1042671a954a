"""The engine of a run: whether it can be used, before anything is created."""

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.engines.on_ray import check_ray_installed
from agent_pipeline.errors import ConfigError


def check_engine(config: PipelineConfig, options: RunOptions) -> None:
    """See that the engine is there, and can do what is asked of it; nothing is made, Ray is not imported.

    Raises:
        ConfigError: it is not installed, or what is asked can be done in one process only.
    """
    if config.engine.kind == "local":
        return
    for flag, given in (("--record", options.record), ("--replay", options.replay)):
        if given is not None:
            raise ConfigError(f"one process records or replays: leave out {flag}, or add --engine local", key="engine")
    if options.virtual:
        raise ConfigError("virtual time is that of one process: rehearse with --engine local", key="engine")
    check_ray_installed()
