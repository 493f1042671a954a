"""Which pipeline file a command means, and the environment that belongs to it."""

from pathlib import Path

from agent_pipeline.config.environment import load_env
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.errors import ConfigError

DEFAULTS = ("pipeline.yaml", "configs/smoke.yaml")
"""Where a command looks when no file is named, in the working directory."""


def find_config(named: Path | None) -> Path:
    """Return the pipeline file, and read the `.env` beside it and in the working directory.

    Raises:
        ConfigError: no file is named and none of the defaults is there, or a `.env` can't be read.
    """
    path = named or next((path for path in map(Path, DEFAULTS) if path.is_file()), None)
    if path is None:
        raise ConfigError(f"no pipeline file: name one, or make {' or '.join(DEFAULTS)} here")
    load_env(path.parent, Path.cwd())
    return path


def logs_here() -> Path:
    """Return where runs are looked for by name: the logs of the pipeline file in the working directory, or `logs`."""
    for name in DEFAULTS:
        if Path(name).is_file():
            try:
                return load_pipeline_config(name).logs
            except ConfigError:
                continue  # a run of another pipeline must not be out of reach for this one's faults
    return Path("logs")
