"""A run's directory: found again by what a user types, held by one process at a time."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_pipeline.errors import RunDirectoryError, RunInUseError
from agent_pipeline.runs.directory import RunDirectory, create_run_directory, find_run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def make_run(logs: Path, name: str = "demo") -> RunDirectory:
    directory = create_run_directory(logs, name, now=NOW)
    directory.ledger.touch()
    return directory


def test_a_run_is_found_by_path_name_and_prefix(tmp_path: Path) -> None:
    """Whatever of it a user has at hand."""
    run = make_run(tmp_path)
    make_run(tmp_path, "other")

    assert find_run(str(run.path), tmp_path / "elsewhere") == run
    assert find_run(run.run_id, tmp_path) == run
    assert find_run("demo", tmp_path) == run


def test_a_prefix_of_several_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    """Going on with the wrong run costs money."""
    one, two = make_run(tmp_path), make_run(tmp_path)

    with pytest.raises(RunDirectoryError, match="2 runs") as caught:
        find_run("demo", tmp_path)

    assert one.run_id in str(caught.value)
    assert two.run_id in str(caught.value)


def test_last_is_the_newest_run_whatever_its_pipeline(tmp_path: Path) -> None:
    """Runs of one pipeline have long beginnings in common; as a rule the newest is meant."""
    make_run(tmp_path, "zebra")
    newest = create_run_directory(tmp_path, "ant", now=NOW + timedelta(seconds=1))
    newest.ledger.touch()

    assert find_run("last", tmp_path) == newest


def test_a_pipeline_that_is_called_last_is_meant_first(tmp_path: Path) -> None:
    """A name is a name."""
    run = make_run(tmp_path, "lasting")
    create_run_directory(tmp_path, "other", now=NOW + timedelta(seconds=1)).ledger.touch()

    assert find_run("last", tmp_path) == run


@pytest.mark.parametrize("text", ["", "nothing", "../..", "demo-2026", "\x00"])
def test_a_run_that_is_not_there_is_told(tmp_path: Path, text: str) -> None:
    """With those that are."""
    make_run(tmp_path, "known")

    with pytest.raises(RunDirectoryError):
        find_run(text, tmp_path)


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    """Any other folder, and a run whose ledger is gone."""
    run = make_run(tmp_path)
    run.ledger.unlink()
    foreign = tmp_path / "documents"
    foreign.mkdir()

    with pytest.raises(RunDirectoryError, match="not a run directory"):
        find_run(str(foreign), tmp_path)
    with pytest.raises(RunDirectoryError, match=r"ledger\.sqlite3 is missing"):
        find_run(run.run_id, tmp_path)


def test_logs_that_are_not_there_hold_no_runs(tmp_path: Path) -> None:
    """Before the first run of a project."""
    with pytest.raises(RunDirectoryError, match="there are none"):
        find_run("x", tmp_path / "logs")


HOLD = """
import sys
from pathlib import Path
from agent_pipeline.runs.directory import find_run
with find_run(sys.argv[1], Path()).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_holds_a_run_until_it_ends(tmp_path: Path) -> None:
    """The lock dies with its process, however that ends."""
    run = make_run(tmp_path)
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"

        with pytest.raises(RunInUseError, match="another process"), run.locked():
            pass

        first.kill()
    with run.locked():
        pass


def test_two_in_one_process_are_two(tmp_path: Path) -> None:
    """A program must not work twice on one run either."""
    run = make_run(tmp_path)

    with run.locked(), pytest.raises(RunInUseError), run.locked():
        pass
    with run.locked():
        pass


def test_a_directory_that_is_gone_can_not_be_held(tmp_path: Path) -> None:
    """Somebody tidied up."""
    run = make_run(tmp_path)
    run.path.rename(tmp_path / "moved")

    with pytest.raises(RunDirectoryError, match="can't be opened"), run.locked():
        pass


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """A reader sees the old one or the new one; what a killed process left of it can be told by its dot."""
    run = make_run(tmp_path)
    run.write("config.yaml", "old")
    (run.path / ".config.yaml.0011").touch()

    run.write("config.yaml", "new")
    run.remove_temporary()

    assert (run.path / "config.yaml").read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE((run.path / "config.yaml").stat().st_mode) == 0o600
    assert {file.name for file in run.path.iterdir()} == {"config.yaml", "ledger.sqlite3"}
