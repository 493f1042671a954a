"""What each command does, imported at its first use: help needs none of it."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.cli.commands.check import check_config as check_config
    from agent_pipeline.cli.commands.run import run_pipeline as run_pipeline
    from agent_pipeline.cli.commands.simulate import simulate as simulate
    from agent_pipeline.compose.verdict import exit_code_of as exit_code_of

__all__ = ["check_config", "exit_code_of", "run_pipeline", "simulate"]

__getattr__ = lazy_exports(
    __name__,
    {
        "check_config": "agent_pipeline.cli.commands.check",
        "exit_code_of": "agent_pipeline.compose.verdict",
        "run_pipeline": "agent_pipeline.cli.commands.run",
        "simulate": "agent_pipeline.cli.commands.simulate",
    },
)
