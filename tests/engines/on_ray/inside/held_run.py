"""How far a run may go while a test looks on, so that no test depends on how long a worker takes to start."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engines.on_ray.inside.holding import FAR
from tests.integration.project import Project, make_project, prose

from agent_pipeline.domain.document import JsonValue

HOLD: JsonValue = "holding:hold"


def make_held(root: Path, documents: int, stages: Sequence[JsonValue], **more: Any) -> Project:  # noqa: ANN401 - handed on
    """Write a project none of whose documents passes its first stage yet."""
    project = make_project(root, prose(documents), stages=[HOLD, *stages], **more)
    (root / "holding.py").write_text(Path(__file__).with_name("holding.py").read_text(encoding="utf-8"), "utf-8")
    let_pass(project, 0)
    return project


def let_pass(project: Project, number: int) -> None:
    """Let documents pass as far as the one with this number."""
    new = project.root / f"{FAR}.new"
    new.write_text(str(number), encoding="utf-8")
    new.replace(project.root / FAR)
