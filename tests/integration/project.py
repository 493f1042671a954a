"""A project as a user has one: a folder with a pipeline file, a roles file, documents, and maybe stages of its own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.domain.document import JsonValue

BUILT_IN: tuple[JsonValue, ...] = (
    "route",
    "transform",
    {"review": {"rework_to": "transform", "max_reworks": 2}},
    "name",
)
ONE_CALL: tuple[JsonValue, ...] = ("own_stages:summarise",)

IN_THIS_PROCESS: tuple[JsonValue, ...] = ("tests.integration.stages:summarise",)
"""The same stage from the Python path, for runs in the tests' own process: one name can't come from two folders."""

OWN_STAGES = Path(__file__).with_name("stages.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Project:
    """Where everything of a project is."""

    root: Path

    @property
    def config(self) -> Path:
        """The pipeline file."""
        return self.root / "pipeline.yaml"

    @property
    def roles(self) -> Path:
        """The roles file."""
        return self.root / "roles.yaml"

    @property
    def documents(self) -> Path:
        """The source."""
        return self.root / "documents.json"

    @property
    def artifacts(self) -> Path:
        """Where artifacts go."""
        return self.root / "out" / "artifacts"

    @property
    def logs(self) -> Path:
        """Where runs leave what they leave."""
        return self.root / "out" / "logs"

    def runs(self) -> list[Path]:
        """Return the run directories, oldest first."""
        return sorted(self.logs.glob("trial-*"), key=lambda path: path.stat().st_mtime_ns)


def prose(count: int, *, start: int = 1) -> list[JsonValue]:
    """Return entries of a JSON list: short documents with ids of their own."""
    return [
        {"id": f"d{n:04}", "text": f"# Note {n}\n\nThis is note number {n}. It says little.\n"}
        for n in range(start, start + count)
    ]


def make_project(
    root: Path,
    documents: JsonValue,
    *,
    stages: Sequence[JsonValue] = BUILT_IN,
    base_url: str | None = None,
    api: str | None = None,
    env_key: str | None = "OPENAI_API_KEY",
    params: Mapping[str, JsonValue] | None = None,
    limits: Mapping[str, JsonValue] | None = None,
    own_stages: str = OWN_STAGES,
) -> Project:
    """Write a project; JSON is YAML, so that is how the files are written."""
    root.mkdir(parents=True, exist_ok=True)
    project = Project(root)
    provider: dict[str, JsonValue] = {"env_key": env_key, "base_url": base_url, "api": api}
    roles: dict[str, JsonValue] = {
        "project": "trial",
        "env": "test",
        "providers": {"openai": {name: value for name, value in provider.items() if value is not None}},
        "roles": {},
        "defaults": {"provider": "openai", "model": "gpt-5-mini", "params": {"max_tokens": 2000, **(params or {})}},
    }
    pipeline: dict[str, JsonValue] = {
        "name": "trial",
        "roles": "roles.yaml",
        "source": {"path": "documents.json"},
        "artifacts": "out/artifacts",
        "logs": "out/logs",
        "stages": list(stages),
        "limits": {"retry": {"initial_delay": 0.01, "max_delay": 0.05}, **(limits or {})},
    }
    project.config.write_text(json.dumps(pipeline, indent=2), encoding="utf-8")
    project.roles.write_text(json.dumps(roles, indent=2), encoding="utf-8")
    project.documents.write_text(json.dumps(documents, indent=1), encoding="utf-8")
    (root / "own_stages.py").write_text(own_stages, encoding="utf-8")
    return project
