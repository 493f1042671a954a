"""A project with a live file, which is not there yet."""

import json
from pathlib import Path

from tests.integration.project import Project, make_project, prose

from agent_pipeline.domain.document import JsonValue

STAGES = '''
from agent_pipeline import stage


@stage(role="writer")
async def first(document, context):
    """Let an agent answer."""
    return document.with_fields(first=await context.run_agent("writer", document.text))


@stage(role="writer")
async def second(document, context):
    """Ask plainly."""
    return document.with_fields(second=await context.ask(document.text))
'''


def live_project(
    root: Path, count: int, module: str, limits: dict[str, JsonValue] | None = None
) -> tuple[Project, Path]:
    """Make a project of two stages with one role, whose live file is not there yet."""
    names = (f"{module}:first", f"{module}:second")
    project = make_project(root, prose(count), stages=names, limits=limits)
    (root / f"{module}.py").write_text(STAGES, encoding="utf-8")
    pipeline = json.loads(project.config.read_text())
    project.config.write_text(json.dumps({**pipeline, "live": "live.json"}), encoding="utf-8")
    roles = json.loads(project.roles.read_text())
    writer = {"provider": "openai", "model": "small", "params": {"max_tokens": 100}}
    project.roles.write_text(json.dumps({**roles, "roles": {"writer": writer}}), encoding="utf-8")
    return project, root / "live.json"
