"""What a shell offers where a run or a pipeline file is wanted."""

from pathlib import Path

from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.runs.directory import run_names

_CONFIG_SUFFIXES = {".yaml", ".yml", ".json"}


def runs_beginning_with(incomplete: str) -> list[str]:
    """Return the runs in the logs folder whose names begin so, the newest first; of a path those in its folder."""
    folder, slash, begun = incomplete.rpartition("/")
    try:
        names = run_names(Path(f"{folder}/") if slash else logs_here())
    except AgentPipelineError:
        return []  # a shell has no place for a message
    return [f"{folder}{slash}{name}" for name in names if name.startswith(begun)]


def config_files_beginning_with(incomplete: str) -> list[str]:
    """Return the YAML and JSON files, and the folders, whose paths begin so."""
    folder, slash, begun = incomplete.rpartition("/")
    try:
        found = sorted(Path(f"{folder}/" if slash else ".").iterdir())
    except OSError:
        return []
    shown = [path for path in found if path.name.startswith(begun) and (begun or not path.name.startswith("."))]
    names = [path.name + "/" if path.is_dir() else path.name for path in shown if _is_offered(path)]
    return [f"{folder}{slash}{name}" for name in names]


def _is_offered(path: Path) -> bool:
    return path.is_dir() or path.suffix in _CONFIG_SUFFIXES
