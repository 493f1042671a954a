"""What the flags of a command line change of the config files; the same before a run and in it."""

from agent_pipeline.cli.flags import OverridingFlags
from agent_pipeline.config.pipeline import EngineOverrides, Overrides


def overrides_of(flags: OverridingFlags) -> Overrides:
    """Return what the flags change of the files."""
    return Overrides(
        budget_tokens=flags.budget_tokens,
        budget_usd=flags.money(),
        documents_in_flight=flags.documents_in_flight,
        run_timeout=flags.timeout,
        role_models=flags.role_models(),
        base_urls=flags.base_urls(),
        engine=EngineOverrides(
            kind=flags.engine,
            address=flags.ray_address,
            workers=flags.workers,
            worker_concurrency=flags.worker_concurrency,
            shard_size=flags.shard_size,
        ),
    )
