"""What each command does, imported at its first use: help needs none of it."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.cli.commands.check import check_config as check_config
    from agent_pipeline.cli.commands.hidden import without_secrets as without_secrets
    from agent_pipeline.cli.commands.report import report_run as report_run
    from agent_pipeline.cli.commands.resume import resume_run as resume_run
    from agent_pipeline.cli.commands.run import run_pipeline as run_pipeline
    from agent_pipeline.cli.commands.simulate import serve_simulator as serve_simulator
    from agent_pipeline.cli.commands.verify import verify_and_show as verify_and_show
    from agent_pipeline.compose.verdict import exit_code_of as exit_code_of

__all__ = [
    "check_config",
    "exit_code_of",
    "report_run",
    "resume_run",
    "run_pipeline",
    "serve_simulator",
    "verify_and_show",
    "without_secrets",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "check_config": "agent_pipeline.cli.commands.check",
        "exit_code_of": "agent_pipeline.compose.verdict",
        "report_run": "agent_pipeline.cli.commands.report",
        "resume_run": "agent_pipeline.cli.commands.resume",
        "run_pipeline": "agent_pipeline.cli.commands.run",
        "serve_simulator": "agent_pipeline.cli.commands.simulate",
        "verify_and_show": "agent_pipeline.cli.commands.verify",
        "without_secrets": "agent_pipeline.cli.commands.hidden",
    },
)
