"""What must not get out, and what must not get lost unseen."""

from datetime import datetime
from pathlib import Path

import pytest
from tests.integration.project import IN_THIS_PROCESS, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.events import Event, PipelineFinished

CANARY = "canary-7f3a9b1c5d2e8f40"

LEAKING = """
import os

from agent_pipeline import Document, StageContext, stage


@stage
async def leak(document: Document, context: StageContext) -> Document:
    raise RuntimeError(f"the key is {os.environ['OPENAI_API_KEY']}")
"""


async def test_a_key_in_an_error_reaches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage may put anything into its error; ledger, manifest and logs are read by others."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    project = make_project(tmp_path, prose(2), stages=["own_stages:leak"], own_stages=LEAKING)

    result = await Pipeline.from_config(project.config, options=RunOptions(offline=True)).run()

    assert result.documents.failed == 2
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert [path.name for path in written if CANARY.encode() in path.read_bytes()] == []


class LastLineLost:
    """A sink whose disk is full when the run's last event comes."""

    name = "last_line_lost"

    def handle(self, event: Event, at: datetime) -> None:  # noqa: ARG002 - the protocol gives it
        if isinstance(event, PipelineFinished):
            raise OSError(28, "No space left on device")

    def flush(self) -> None: ...
    def close(self) -> None: ...


async def test_what_the_last_flush_loses_is_no_plain_success(tmp_path: Path) -> None:
    """The result is known before the sinks are closed; a gap that opens then must still be told."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)

    pipeline = Pipeline.from_config(project.config, options=RunOptions(offline=True, sinks=(LastLineLost(),)))
    result = await pipeline.run()

    assert result.documents.succeeded == 1
    assert (result.exit_code, result.reason, result.dropped) == (1, "telemetry_dropped", {"last_line_lost": 1})
