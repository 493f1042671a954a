"""What the flags of a command line change of the config files; the same before a run and in it."""

from agent_pipeline.cli.flags import OverridingFlags
from agent_pipeline.config.pipeline import Overrides


def overrides_of(flags: OverridingFlags) -> Overrides:
    """Return what the flags change of the files."""
    return Overrides(
        budget_tokens=flags.budget_tokens,
        budget_usd=flags.money(),
        documents_in_flight=flags.documents_in_flight,
        run_timeout=flags.timeout,
        role_models=flags.role_models(),
        base_urls=flags.base_urls(),
    )
