"""What each command does, imported at its first use: help needs none of it."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.cli.commands.before.check import check_config as check_config
    from agent_pipeline.cli.commands.before.doctor import examine as examine
    from agent_pipeline.cli.commands.before.plan import plan_and_show as plan_and_show
    from agent_pipeline.cli.commands.before.rehearse import rehearse_and_show as rehearse_and_show
    from agent_pipeline.cli.commands.before.role_trial import try_role as try_role
    from agent_pipeline.cli.commands.before.roles import list_roles as list_roles
    from agent_pipeline.cli.commands.completion import config_files_beginning_with as config_files_beginning_with
    from agent_pipeline.cli.commands.completion import runs_beginning_with as runs_beginning_with
    from agent_pipeline.cli.commands.flag_words import in_our_words as in_our_words
    from agent_pipeline.cli.commands.hidden import without_secrets as without_secrets
    from agent_pipeline.cli.commands.looking.export import export_results as export_results
    from agent_pipeline.cli.commands.looking.metrics import print_metrics as print_metrics
    from agent_pipeline.cli.commands.looking.report import report_run as report_run
    from agent_pipeline.cli.commands.looking.runs import list_runs as list_runs
    from agent_pipeline.cli.commands.looking.show import show_run as show_run
    from agent_pipeline.cli.commands.looking.trace import show_trace as show_trace
    from agent_pipeline.cli.commands.looking.verify import verify_and_show as verify_and_show
    from agent_pipeline.cli.commands.looking.why import tell_why as tell_why
    from agent_pipeline.cli.commands.making.listed_stages import list_stages as list_stages
    from agent_pipeline.cli.commands.making.new_project import init_project as init_project
    from agent_pipeline.cli.commands.making.new_stage import make_stage as make_stage
    from agent_pipeline.cli.commands.running.resume import resume_run as resume_run
    from agent_pipeline.cli.commands.running.run import run_pipeline as run_pipeline
    from agent_pipeline.cli.commands.running.simulate import serve_simulator as serve_simulator
    from agent_pipeline.compose.verdict import exit_code_of as exit_code_of

__all__ = [
    "check_config",
    "config_files_beginning_with",
    "examine",
    "exit_code_of",
    "print_metrics",
    "list_roles",
    "list_runs",
    "export_results",
    "in_our_words",
    "init_project",
    "list_stages",
    "make_stage",
    "plan_and_show",
    "rehearse_and_show",
    "report_run",
    "resume_run",
    "run_pipeline",
    "runs_beginning_with",
    "serve_simulator",
    "show_run",
    "show_trace",
    "tell_why",
    "try_role",
    "verify_and_show",
    "without_secrets",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "check_config": "agent_pipeline.cli.commands.before.check",
        "config_files_beginning_with": "agent_pipeline.cli.commands.completion",
        "examine": "agent_pipeline.cli.commands.before.doctor",
        "exit_code_of": "agent_pipeline.compose.verdict",
        "print_metrics": "agent_pipeline.cli.commands.looking.metrics",
        "list_roles": "agent_pipeline.cli.commands.before.roles",
        "list_runs": "agent_pipeline.cli.commands.looking.runs",
        "export_results": "agent_pipeline.cli.commands.looking.export",
        "in_our_words": "agent_pipeline.cli.commands.flag_words",
        "init_project": "agent_pipeline.cli.commands.making.new_project",
        "list_stages": "agent_pipeline.cli.commands.making.listed_stages",
        "make_stage": "agent_pipeline.cli.commands.making.new_stage",
        "plan_and_show": "agent_pipeline.cli.commands.before.plan",
        "rehearse_and_show": "agent_pipeline.cli.commands.before.rehearse",
        "report_run": "agent_pipeline.cli.commands.looking.report",
        "resume_run": "agent_pipeline.cli.commands.running.resume",
        "run_pipeline": "agent_pipeline.cli.commands.running.run",
        "runs_beginning_with": "agent_pipeline.cli.commands.completion",
        "serve_simulator": "agent_pipeline.cli.commands.running.simulate",
        "show_run": "agent_pipeline.cli.commands.looking.show",
        "show_trace": "agent_pipeline.cli.commands.looking.trace",
        "tell_why": "agent_pipeline.cli.commands.looking.why",
        "try_role": "agent_pipeline.cli.commands.before.role_trial",
        "verify_and_show": "agent_pipeline.cli.commands.looking.verify",
        "without_secrets": "agent_pipeline.cli.commands.hidden",
    },
)
