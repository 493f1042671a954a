"""The parts of a simulated world: copies of files, torn lines, the watch, what the invariants see."""

import json
import random
from pathlib import Path

import pytest
import trio

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.testing import simulate_world
from agent_pipeline.testing.worlds import watch
from agent_pipeline.testing.worlds.files import copy_files, put_back, tear_logs
from agent_pipeline.testing.worlds.projects import draw_project
from agent_pipeline.testing.worlds.troubles import draw_troubles
from agent_pipeline.testing.worlds.watch import seeded_scheduler


def project_of(folder: Path, *, stages: list[JsonValue], code: str, timeouts: JsonValue) -> Path:
    """Write a project with one document and a stage of its own; return its pipeline file."""
    pipeline = draw_project(random.Random(1), folder)
    content = json.loads(pipeline.read_text(encoding="utf-8"))
    content |= {"stages": stages, "limits": {"timeouts": timeouts}}
    pipeline.write_text(json.dumps(content), encoding="utf-8")
    (folder / "documents.json").write_text(json.dumps([{"id": "d", "text": "words"}]), encoding="utf-8")
    (folder / f"{str(stages[0]).partition(':')[0]}.py").write_text(code, encoding="utf-8")
    return pipeline


UNLIMITED: JsonValue = {"run": None, "document": None, "stage": None, "attempt": None, "read": None, "connect": None}

WAITS_FOREVER = """
import trio
from agent_pipeline import Document, StageContext, stage

@stage
async def wait(document: Document, context: StageContext) -> Document:
    await trio.sleep_forever()
"""

NEVER_RESTS = """
import trio
from agent_pipeline import Document, StageContext, stage

@stage
async def spin(document: Document, context: StageContext) -> Document:
    while True:
        await trio.lowlevel.checkpoint()
"""


def test_a_world_that_stands_still_is_given_up_and_says_who_waits(tmp_path: Path) -> None:
    """In virtual time nobody would notice: the clock has no deadline to jump to, and the search would never end."""
    report = simulate_world(
        1,
        tmp_path,
        write_project=lambda _, folder: project_of(
            folder, stages=["waits_forever:wait"], code=WAITS_FOREVER, timeouts=UNLIMITED
        ),
    )

    assert any("it stands still" in problem and "document d" in problem for problem in report.violations)


def test_a_world_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that never waits takes no virtual time, so that no deadline comes."""
    monkeypatch.setattr(watch, "MOST_STEPS", 2_000)

    report = simulate_world(
        1,
        tmp_path,
        write_project=lambda _, folder: project_of(
            folder, stages=["never_rests:spin"], code=NEVER_RESTS, timeouts=UNLIMITED
        ),
    )

    assert any("no end after 2000 steps" in problem for problem in report.violations)


def test_a_copy_keeps_names_of_one_file_together(tmp_path: Path) -> None:
    """A second name of an artifact is evidence of a crash: a copy that made two files of it would be another crash."""
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "deep" / "er").mkdir(parents=True)
    (source / "one").write_text("content", encoding="utf-8")
    (source / "deep" / "er" / "other").hardlink_to(source / "one")
    (source / "deep").chmod(0o700)

    copy_files(source, tmp_path / "copy")
    (source / "one").write_text("changed", encoding="utf-8")
    put_back(tmp_path / "copy", source)

    assert (source / "one").read_text(encoding="utf-8") == "content"
    assert (source / "one").samefile(source / "deep" / "er" / "other")
    assert (source / "one").stat().st_nlink == 2
    assert (source / "empty").is_dir()
    assert (source / "deep").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("content", "kept", "left"),
    [
        (b"one\ntwo\n", 0.5, b"one\ntw"),
        (b"one\ntwo\n", 0.0, b"one\ntwo\n"),
        (b"one\ntwo\n", 1.0, b"one\ntwo\n"),
        (b"only\n", 0.5, b"on"),
        (b"", 0.5, b""),
    ],
)
def test_a_torn_line_is_the_last_one_of_a_log(tmp_path: Path, content: bytes, kept: float, left: bytes) -> None:
    """A process dies within one write: lines before it are whole, and no other kind of file is touched."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "events.jsonl").write_bytes(content)
    (tmp_path / "ledger.sqlite3").write_bytes(content)

    torn = tear_logs(tmp_path, kept)

    assert (tmp_path / "deep" / "events.jsonl").read_bytes() == left
    assert (tmp_path / "ledger.sqlite3").read_bytes() == content
    assert bool(torn) == (left != content)


def test_the_scheduler_is_seeded_inside_the_block_only() -> None:
    """Trio's own disorder finds bugs in all other tests."""

    async def order() -> list[int]:
        ran: list[int] = []

        async def run(number: int) -> None:
            ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(run, number)
        return ran

    scheduler = trio._core._run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    orders = []
    for seed in ("a", "a", "b"):
        with seeded_scheduler(seed):
            orders.append(trio.run(order))

    assert orders[0] == orders[1] != orders[2]
    assert before == scheduler._ALLOW_DETERMINISTIC_SCHEDULING


def test_troubles_and_projects_are_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    """All else about a world follows from these two."""
    drawn = []
    for place in ("first", "second"):
        folder = tmp_path / place
        folder.mkdir()
        rng = random.Random(7)
        draw_project(rng, folder)
        files = {name: (folder / name).read_bytes() for name in ("pipeline.yaml", "roles.yaml", "documents.json")}
        drawn.append((files, draw_troubles(rng)))

    assert drawn[0] == drawn[1]
