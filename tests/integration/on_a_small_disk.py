"""A program: a run whose artifacts or logs are on a disk that gets full, and gone on with when there is room again.

    python -m tests.integration.on_a_small_disk ENGINE PLACE FOLDER

In a namespace of its own for mounts, since it mounts at FOLDER. Prints how both sessions ended, and what is left.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.project import make_project
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import artifacts, problems, rows

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.simulator import FaultPlan

DOCUMENTS, SIZE = 24, 100_000
"""More than the disk holds, which is one megabyte."""

DONE = "SELECT document_id FROM documents WHERE outcome = 'succeeded'"
ENDS = "SELECT document_id, outcome, error_code, artifact_sha256 FROM documents ORDER BY 1"


def main(engine: str, place: str, folder: Path) -> None:
    """Do it."""
    documents: list[JsonValue] = [
        {"id": f"d{number:04}", "text": f"# Note {number}\n".ljust(SIZE, "x")} for number in range(1, DOCUMENTS + 1)
    ]
    root = folder / "project"
    small = root / "out" / place
    small.mkdir(parents=True)
    mount(small, "size=1m")
    project = make_project(root, documents, stages=["tests.integration.every_kind:without_a_model"], env_key=None)
    (local if engine == "local" else with_engine)(project)
    told: dict[str, object] = {}
    left: dict[str, bytes] = {}
    for session in ("first", "second"):
        provider = Provider(FaultPlan.from_mapping({"latency": 1}))
        try:
            result = run_over_workers(project, provider, gone_on=session == "second")
            assert result is not None
            told[session] = [result.outcome, result.exit_code, result.reason]
        except AgentPipelineError as exc:
            told[session] = [type(exc).__name__, exc.code, str(exc)]
        mount(small, "remount,size=64m")
        left = artifacts(project)
        told[f"{session}_left"] = [len(left), sum(len(row) for row in rows(project, DONE))]
    told |= {"ends": rows(project, ENDS), "problems": problems(project), "artifacts": sorted(left)}
    print(json.dumps(told))  # noqa: T201  (how a process answers)


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
