"""The fault plans that come with the package: YAML files, to be read and copied."""

from pathlib import Path

from agent_pipeline.config.validation import did_you_mean
from agent_pipeline.errors import ConfigError
from agent_pipeline.simulator import FaultPlan

FOLDER = Path(__file__).parent / "faults"


def plan_names() -> list[str]:
    """Return the names of the plans that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def plan_file(named: str) -> Path:
    """Return the file of a plan: one of ours by its name, else the file of that path.

    Raises:
        ConfigError: it is neither.
    """
    if named in plan_names():
        return FOLDER / f"{named}.yaml"
    path = Path(named)
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"a faults file is wanted, and {named} is a folder", key="--faults")
    hint = did_you_mean(named, plan_names())
    raise ConfigError(
        f"{named!r} is neither a faults file nor one of the plans {', '.join(plan_names())}{hint}", key="--faults"
    )


def load_plan(named: str) -> FaultPlan:
    """Return a plan by name or file.

    Raises:
        ConfigError: there is none, or it can't be used.
    """
    return FaultPlan.load(plan_file(named))
