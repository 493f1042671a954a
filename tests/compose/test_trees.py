"""Task trees as files."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_pipeline.compose.trees import MOST, TaskTrees
from agent_pipeline.domain.events import Event, TaskTreeWritten


def trees_in(folder: Path, events: list[Event], draw: Callable[[], str] = lambda: "tree\n") -> TaskTrees:
    """Open a session's trees."""
    return TaskTrees(folder, draw=draw, emit=events.append, clean=lambda text: text.replace("canary", "[redacted]"))


def test_tree_is_private_clean_and_told(tmp_path: Path) -> None:
    """It names documents, and may name more."""
    events: list[Event] = []
    folder = tmp_path / "tasks"

    trees_in(folder, events, lambda: "document canary\n").write("because of canary")

    (path,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reason, at, empty, tree = path.read_text().splitlines()
    assert (reason, empty, tree) == ("because of [redacted]", "", "document [redacted]")
    assert at.endswith("+00:00")
    assert events == [TaskTreeWritten("because of canary", str(path))]


def test_trees_of_earlier_sessions_stay(tmp_path: Path) -> None:
    """A run that is gone on with has one folder for all of them."""
    first, second = trees_in(tmp_path, []), trees_in(tmp_path, [])
    first.write("a")
    first.write("b")
    second.write("c")

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["tree-001.txt", "tree-002.txt", "tree-003.txt"]
    assert (tmp_path / "tree-003.txt").read_text().startswith("c\n")


def test_a_session_writes_so_many_and_counts_the_rest(tmp_path: Path) -> None:
    """Something that asks for one each second must not fill the disk."""
    events: list[Event] = []
    trees = trees_in(tmp_path, events)

    for _ in range(MOST + 3):
        trees.write("again")

    assert len(list(tmp_path.iterdir())) == len(events) == MOST
    assert trees.left_out == 3


def test_disk_that_takes_no_tree_harms_nobody(tmp_path: Path) -> None:
    """A tree is worth no run."""
    events: list[Event] = []
    (tmp_path / "file").touch()

    trees_in(tmp_path / "file" / "tasks", events).write("SIGUSR1")

    assert events == []


def test_tree_that_can_not_be_drawn_harms_nobody(tmp_path: Path) -> None:
    """Trio calls this between two steps of the run; an exception there would end it."""

    def fail() -> str:
        raise AttributeError("a new Trio")

    trees_in(tmp_path, [], fail).write("SIGUSR1")

    assert (tmp_path / "tree-001.txt").read_text().endswith("it could not be drawn: AttributeError: a new Trio\n")


@pytest.mark.parametrize("text", ["half \ud800 a character", "ünd so weiter"])
def test_any_name_can_be_written(tmp_path: Path, text: str) -> None:
    """A document's id is whatever its source says."""
    trees_in(tmp_path, [], lambda: text).write("SIGUSR1")

    assert len(list(tmp_path.iterdir())) == 1
