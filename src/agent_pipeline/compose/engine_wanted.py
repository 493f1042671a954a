"""The engine that a config wants: whether it can be used, before anything is created; how much is in flight in it."""

import trio

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.engines import on_ray
from agent_pipeline.errors import ConfigError


def check_engine(config: PipelineConfig, options: RunOptions) -> None:
    """See that the engine is there, and can do what is asked of it; nothing is made, Ray is not imported.

    Raises:
        ConfigError: it is not installed, or what is asked can be done in one process only, or what is written would
            be lost.
    """
    if config.engine.kind == "local":
        return
    for flag, given in (("--record", options.record), ("--replay", options.replay)):
        if given is not None:
            raise ConfigError(f"one process records or replays: leave out {flag}, or add --engine local", key="engine")
    if options.strict_shutdown and options.open_worker is None:
        raise ConfigError("Ray leaves files open in its driver: leave out --strict-shutdown", key="engine")
    if options.virtual and options.open_worker is None:
        raise ConfigError("virtual time is that of one process: rehearse with --engine local", key="engine")
    if config.live is not None:
        raise ConfigError("values change live in one process only: leave out live, or add --engine local", key="live")
    if options.open_worker is None:
        on_ray.check_ray_installed()
        for key, folder in (("artifacts", config.artifacts), ("logs", config.logs)):
            on_ray.check_kept(key, folder)
        if config.engine.address == on_ray.LOCAL:
            on_ray.check_room_here(config.engine.workers)


async def see_engine(config: PipelineConfig, options: RunOptions) -> None:
    """See that somebody answers where a cluster is said to be, before anything is created; ten seconds at most.

    Raises:
        ConfigError: nobody does.
    """
    if config.engine.kind == "ray" and options.open_worker is None:
        await trio.to_thread.run_sync(on_ray.check_answers, config.engine.address, abandon_on_cancel=True)


def documents_in_flight(config: PipelineConfig) -> int:
    """Return how many documents are in flight at most, wherever that is."""
    wanted = config.limits.documents_in_flight
    if config.engine.kind == "local":
        return wanted
    return config.engine.workers * config.engine.concurrency_of(wanted)
