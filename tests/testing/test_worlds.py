"""Simulated worlds: every invariant holds in all of them, each is the same whenever it is told, and bugs are found."""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_pipeline.control.budget import Hold
from agent_pipeline.control.retry import Retries
from agent_pipeline.domain.document import Artifact
from agent_pipeline.errors import ProviderError
from agent_pipeline.ledger import Ledger
from agent_pipeline.testing import WorldReport, simulate_world
from agent_pipeline.testing.worlds.__main__ import main
from agent_pipeline.testing.worlds.many import simulate_worlds
from agent_pipeline.testing.worlds.projects import draw_project

SEEDS = 500
"""Of `just check-all`."""

SHARES = 10
"""Tests that divide them."""

FIRST = range(1, 11)
"""Those of every run of the tests."""

MOST_SEEDS = 200
"""Within so many a seeded bug has to be found."""


@pytest.mark.parametrize("seed", FIRST)
def test_nothing_is_lost_in_a_world(tmp_path: Path, seed: int) -> None:
    """Faults, limits, cancellations and crashes, in any combination: what is promised holds all the same."""
    report = simulate_world(seed, tmp_path)

    assert report.violations == ()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_lost_in_any_of_many_worlds(share: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Combinations nobody thought of are what breaks such a program."""
    tally = simulate_worlds(range(1 + share, SEEDS + 1, SHARES))

    with capsys.disabled():
        sys.stdout.write(f" {tally.told()}\n")
    assert [(report.seed, report.violations) for report in tally.failing] == []


def test_a_seed_makes_the_same_world_again(tmp_path: Path) -> None:
    """A failure that does not come again can't be mended."""
    for seed in (11, 12, 13):
        told = []
        for place in ("first", "second, and with another length"):
            folder = tmp_path / f"{seed} {place}"
            folder.mkdir()
            told.append(simulate_world(seed, folder))

        assert told[0].story == told[1].story
        assert told[0].requests == told[1].requests


@pytest.mark.slow
def test_a_seed_makes_the_same_world_in_every_process() -> None:
    """Whoever is told a seed is on another machine: addresses in memory and hashes of texts differ there."""
    command = [sys.executable, "-m", "agent_pipeline.testing.worlds", "--seeds", "40", "--jobs", "1", "--verbose"]

    told = [
        subprocess.run(  # noqa: PLW1510 - whatever it finds, it has to be the same
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout.splitlines()[:-1]
        for seed in ("1", "4711")
    ]

    assert len(told[0]) >= 40
    assert told[0] == told[1]


# --- bugs it has to find -------------------------------------------------------------------------------------------


def skip_settling(patch: pytest.MonkeyPatch) -> None:
    """Forget to end the hold of an attempt that was answered."""
    patch.setattr(Hold, "settle", lambda *_args, **_amounts: None)


def count_retries_twice(patch: pytest.MonkeyPatch) -> None:
    """Count each failed attempt twice."""
    spend = Retries.spend

    def twice(self: Retries, error: ProviderError) -> bool:
        spend(self, error)
        return spend(self, error)

    patch.setattr(Retries, "spend", twice)


def write_rows_first(patch: pytest.MonkeyPatch) -> None:
    """Give an artifact its name only after its document's row is on disk."""
    finish = Ledger.finish_document

    async def row_first(self: Ledger, document_id: str, *, artifact: Artifact | None, **row: Any) -> None:  # noqa: ANN401 - what is written beside
        if artifact is None:
            await finish(self, document_id, artifact=None, **row)
            return
        folder, name = os.path.split(artifact.path)
        os.replace(artifact.path, f"{folder}/.{name}")  # noqa: PTH105 - as ours, between two awaits
        await finish(self, document_id, artifact=artifact, **row)
        os.replace(f"{folder}/.{name}", artifact.path)  # noqa: PTH105 - see above

    patch.setattr(Ledger, "finish_document", row_first)


def found_within(most_seeds: int) -> WorldReport | None:
    """Return the first world that breaks something."""
    for seed in range(1, most_seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            report = simulate_world(seed, Path(folder))
        if report.violations:
            return report
    return None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("bug", "told"),
    [
        (skip_settling, "tokens"),
        (count_retries_twice, r"counts \[1(, 1)*, 3"),
        (write_rows_first, "is recorded, but not on disk"),
    ],
)
def test_a_seeded_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Invariants that hold whatever the code does are no invariants."""
    bug(monkeypatch)

    report = found_within(MOST_SEEDS)

    assert report is not None
    assert re.search(told, report.violations[0])
    with capsys.disabled():
        sys.stdout.write(f" {getattr(bug, '__name__', bug)}: seed {report.seed}: {report.violations[0]}\n")


# --- what a user sees ----------------------------------------------------------------------------------------------


def test_a_failing_seed_is_printed_with_the_way_to_see_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is all that somebody needs who has to mend it."""
    skip_settling(monkeypatch)

    code = main(["--first", "6", "--seeds", "1", "--jobs", "1", "--keep", str(tmp_path / "kept")])

    told = capsys.readouterr().out
    assert code == 1
    assert told.startswith("seed 6: ")
    assert "tokens left at the end" in told
    assert "just simulate-faults --first 6 --seeds 1" in told
    assert (tmp_path / "kept" / "6.story.jsonl").is_file()
    assert (tmp_path / "kept" / "6" / "pipeline.yaml").is_file()


def test_worlds_without_a_violation_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """No news has to be told apart from nothing done."""
    code = main(["--seeds", "2", "--jobs", "1"])

    assert code == 0
    assert capsys.readouterr().out.startswith("2 worlds, 0 violations (")


@pytest.mark.slow
def test_worlds_in_several_processes_are_the_same() -> None:
    """More processes make it faster, nothing else."""
    alone, together = (simulate_worlds(range(1, 31), jobs=jobs) for jobs in (1, 2))

    assert alone.totals == together.totals
    assert [replace(report, story=()) for report in alone.failing] == together.failing


@pytest.mark.slow
def test_no_process_outlives_the_search() -> None:
    """Whoever kills a search that takes hours does not look for what it had started."""
    command = [sys.executable, "-m", "agent_pipeline.testing.worlds", "--seeds", "10000", "--jobs", "2", "--verbose"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as search:
        assert search.stdout is not None
        assert search.stdout.readline().startswith(b"seed 1: ")

        search.kill()

        search.stdout.read()  # the pipe ends when the last process that holds it does


def test_a_pipeline_of_ones_own_runs_in_a_world(tmp_path: Path) -> None:
    """What holds for drawn pipelines is of interest for a user's own, with stages of their own."""

    def write_project(rng: random.Random, folder: Path) -> Path:
        pipeline = draw_project(rng, folder)
        content = json.loads(pipeline.read_text(encoding="utf-8"))
        content["stages"] = ["mine_in_a_world:mark"]
        pipeline.write_text(json.dumps(content), encoding="utf-8")
        (folder / "mine_in_a_world.py").write_text(OWN_STAGE, encoding="utf-8")
        return pipeline

    report = simulate_world(6, tmp_path, write_project=write_project)

    assert report.violations == ()
    assert report.outcomes.keys() <= {"succeeded", "failed", "skipped"}
    assert any('"MARKED"' in line for line in report.story)


OWN_STAGE = """
from agent_pipeline import Document, StageContext, stage

@stage
async def mark(document: Document, context: StageContext) -> Document:
    context.log("MARKED")
    return document.with_text(document.text + "marked")
"""


def test_a_project_that_writes_outside_its_world_is_refused(tmp_path: Path) -> None:
    """What a crash leaves could not be told there, and somebody's files are at stake."""

    def write_project(rng: random.Random, folder: Path) -> Path:
        pipeline = draw_project(rng, folder)
        text = pipeline.read_text(encoding="utf-8").replace('"artifacts"', '"../elsewhere"', 2)
        pipeline.write_text(text.replace('"../elsewhere":', '"artifacts":'), encoding="utf-8")
        return pipeline

    (tmp_path / "world").mkdir()
    with pytest.raises(ValueError, match="outside the world"):
        simulate_world(1, tmp_path / "world", write_project=write_project)

    assert not (tmp_path / "world" / "elsewhere").exists()
