"""What an artifact's temporary name says about its row, and what a full disk does to the run."""

import errno
import os
from pathlib import Path

import pytest
from tests.pipeline.world import entry, open_run, plan, upper
from trio.testing import MockClock

from agent_pipeline import failpoints


async def test_full_disk_ends_the_run(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every other document would meet the same, after its models were paid; it can be worked on again later."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    failpoints.arm("artifact.filled", lambda: (_ for _ in ()).throw(full))
    try:
        async with open_run(tmp_path, plan(upper)) as run:
            await run.documents([entry(1), entry(2), entry(3)], in_flight=1)
    finally:
        failpoints.disarm_all()

    assert run.outcomes() == {"1": ("cancelled", "disk_full")}
    assert run.stop.reason == "disk_full"
    assert run.artifacts == {}


async def test_artifact_loses_its_evidence_when_its_row_is_on_disk(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Not before: killed in between, the next session has to know what was published and not recorded."""
    folder = tmp_path / "artifacts"
    seen: list[int] = []
    async with open_run(tmp_path, plan(upper)) as run:
        failpoints.arm("artifact.synced", lambda: seen.append(len(list(folder.glob(".*.part")))))
        try:
            await run.documents([entry(1), entry(2), entry(3)], in_flight=1)
        finally:
            failpoints.disarm_all()
        await run.records.artifacts.aclose()

    assert seen == [1, 2, 2]  # its own, and that of the document before, which goes with this group
    assert list(folder.glob(".*.part")) == []


@pytest.mark.parametrize("pages", [20, 30, 45])
async def test_artifact_whose_row_failed_keeps_its_evidence(
    autojump_clock: MockClock, tmp_path: Path, pages: int
) -> None:
    """The ledger's disk is full: what lies in the folder and is not on record can still be told from the rest."""
    async with open_run(tmp_path, plan(upper), pages=pages) as run:
        await run.documents([entry(number) for number in range(1, 500)], in_flight=5)
        await run.records.artifacts.aclose()

    assert run.stop.reason == "ledger_failed"
    recorded = {path for (path,) in run.rows("select artifact_path from documents where artifact_path is not null")}
    links = {str(path): path.stat().st_nlink for path in (tmp_path / "artifacts").glob("*.md")}
    assert links == {path: 1 if path in recorded else 2 for path in links}
