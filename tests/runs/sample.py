"""A run to damage: it holds every kind of record there is, and can be copied to where a test wants it."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.project import BUILT_IN, Project, make_project

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.runs.directory import RunDirectory, find_run
from agent_pipeline.runs.story import LeftBy
from agent_pipeline.runs.verify import Report
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT, FaultPlan, Simulator

DOCUMENTS: JsonValue = {
    "scraped_documents": [
        {"url": "https://example.org/1", "markdown": "# Plain words\n\nNothing special about them.\n"},
        {"url": "https://example.org/2", "markdown": f"# With a flaw\n\nGood line.\n{DEFECT} to mend\n"},
        {"url": "https://example.org/3", "markdown": f"# Past help\n\nGood line.\n{LASTING_DEFECT} stays\n"},
        {"markdown": "No url, so it is skipped."},
        {"url": "https://example.org/5", "markdown": ["not", "text"]},
        {"url": "https://example.org/6", "markdown": "# sk-learn explained\n\nA name that looks like a key.\n"},
    ]
}
FAULTS: dict[str, object] = {"faults": [{"kind": "status", "status": 500, "script": [2, 5]}]}


@dataclass(frozen=True)
class Sample:
    """A run, and ways to change what it left."""

    project: Project
    run: RunDirectory

    def sql(self, *statements: str) -> None:
        """Change the ledger, without its own checks, and leave no trace of having done so."""
        with closing(sqlite3.connect(self.run.ledger, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)

    def write_ahead(self, statement: str) -> None:
        """Change the ledger so that the change is in its write-ahead log only, as a killed process leaves it."""
        files = [Path(f"{self.run.ledger}{suffix}") for suffix in ("", "-wal", "-shm")]
        with closing(sqlite3.connect(self.run.ledger, isolation_level=None)) as connection:
            connection.execute(statement)
            kept = {file: file.read_bytes() for file in files}
        for file, content in kept.items():
            file.write_bytes(content)

    def edit(self, path: Path, change: Callable[[list[str]], list[str]]) -> None:
        """Change the lines of a file."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(change(lines)), encoding="utf-8")

    def both(self, change: Callable[[list[str]], list[str]]) -> None:
        """Change the run log and the typed events alike."""
        self.edit(self.run.log, change)
        self.edit(self.run.events, change)

    def manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the manifest."""
        content = json.loads(self.run.manifest.read_text(encoding="utf-8"))
        change(content)
        self.run.manifest.write_text(json.dumps(content), encoding="utf-8")

    def seal(self) -> None:
        """Write the files' hashes into the manifest as they are now, so that it is not the hash that tells."""

        def update(content: dict[str, Any]) -> None:
            hashes = self.run.file_hashes()
            content["files"] = {name: found for name, found in hashes.items() if name != self.run.manifest.name}

        if self.run.manifest.is_file():
            self.manifest(update)


def make_sample(root: Path) -> Sample:
    """Run a small pipeline in memory: documents of every outcome, reworks, requests that failed and were repeated."""
    project = make_project(root, DOCUMENTS, stages=(*BUILT_IN, "tests.runs.plain:remark"))
    simulator = Simulator(faults=FaultPlan.from_mapping(FAULTS))
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), seed=1)
    result = Pipeline.from_config(project.config, options=options).run_sync()
    assert result.outcome == "completed"
    return Sample(project, find_run(result.run_dir, project.logs))


def go_on(sample: Sample) -> None:
    """Work on the failed documents again, and on one that was changed, in a second session."""
    source = sample.project.documents
    source.write_text(source.read_text(encoding="utf-8").replace("looks like", "resembles"), encoding="utf-8")
    options = RunOptions(
        offline=True,
        virtual=True,
        make_pool=lambda: simulator_pool(Simulator()),
        seed=1,
        run=sample.run,
        retry_failed=True,
    )
    result = Pipeline.from_run(sample.run.path, options=options).run_sync()
    assert (result.outcome, result.session.number) == ("completed", 2)


def cut_off_review(sample: Sample, by: LeftBy) -> None:
    """Let the review of document 1 look like its second, after a killed session or a lost worker cut off the first."""
    sample.sql(
        "CREATE TEMP TABLE made AS SELECT * FROM stage_results WHERE document_id = '1' AND stage = 'review'",
        "CREATE TEMP TABLE sent AS SELECT * FROM attempts WHERE document_id = '1' AND stage = 'review' LIMIT 1",
        "UPDATE sent SET attempt_id = 'cut-off', call_id = 'cut-off', span_id = NULL, "
        "started_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', (SELECT started_at FROM made), '-0.002 seconds'), "
        "outcome = 'failed', error_code = 'interrupted', error = 'cut off before the answer was recorded', "
        "latency_seconds = 0, input_tokens = NULL, output_tokens = NULL",
        "INSERT INTO attempts SELECT * FROM sent",
    )
    if by == "session":
        sample.sql(
            "CREATE TEMP TABLE made AS SELECT * FROM stage_results WHERE document_id = '1' AND stage = 'review'",
            "INSERT INTO sessions SELECT 2, pid, host, version, config_sha256, (SELECT started_at FROM made), "
            "ended_at, outcome, reason FROM sessions",
            "UPDATE sessions SET ended_at = (SELECT started_at FROM made), outcome = 'incomplete', reason = 'killed' "
            "WHERE session = 1",
            "UPDATE attempts SET session = 2 WHERE started_at >= (SELECT started_at FROM made)",
            "UPDATE documents SET session = 2 WHERE document_id = '1'",
        )


def copy_sample(sample: Sample, root: Path) -> Sample:
    """Copy a run with its artifacts to another place, and let it say that it was always there."""
    old, new = str(sample.project.root), str(root)
    shutil.copytree(old, root)
    run = find_run(str(root / os.path.relpath(sample.run.path, old)), root)
    copied = Sample(Project(root), run)
    for path in (run.log, run.events, run.manifest):
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    copied.sql(
        f"UPDATE documents SET artifact_path = replace(artifact_path, '{old}', '{new}')",  # noqa: S608 - a test's own
        f"UPDATE run SET config_path = replace(config_path, '{old}', '{new}')",  # noqa: S608 - likewise; who resumes it goes there
    )
    copied.seal()
    return copied


def kill(sample: Sample) -> None:
    """Let a run look as SIGKILL leaves it: its last session has no end, and there is no manifest."""
    sample.run.manifest.unlink()
    sample.sql(
        "UPDATE sessions SET ended_at = NULL, outcome = NULL, reason = NULL",
        "UPDATE run SET ended_at = NULL, outcome = NULL, reason = NULL",
    )


def codes(report: Report) -> str:
    """Return the words under which differences were found."""
    return " ".join(sorted({difference.code for difference in report.differences}))


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    """Return hash and time of change of everything below a folder."""
    return {
        str(path): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mtime_ns,
        )
        for path in [root, *root.rglob("*")]
    }
