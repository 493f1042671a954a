"""SIGINT and SIGTERM at any moment of a run: it ends at once, in order, and what it leaves can be gone on with."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator

DOCUMENTS = 100
ATTEMPTS = 4 * DOCUMENTS
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 6.0
"""Seconds from the signal to the end; measured are 0.2 on a quiet machine, the rest is for a busy one."""

FAST, ALL = range(3), range(20)


def trials(fast: range, every: range) -> list[object]:
    """Return the trials as parameters; all but the first few are slow."""
    return [pytest.param(n, marks=() if n in fast else pytest.mark.slow) for n in every]


def busy_run(launcher: Launcher, simulator: SeparateSimulator, root: Path) -> tuple[Project, Process]:
    """Start a run of 100 documents that are all in flight."""
    project = make_project(root, prose(DOCUMENTS), base_url=simulator.base_url)
    return project, launcher.start("run", project.config, "--json", cwd=root)


def logged(project: Project, event: str) -> int:
    """Return how many such events the run log shows by now."""
    logs = list(project.logs.glob("trial-*/trial.log"))
    return logs[0].read_text(encoding="utf-8").count(f" {event} ") if logs else 0


def ended_after(process: Process, number: signal.Signals) -> Ended:
    """Send the signal and wait; fails where the process hangs."""
    process.signal(number)
    ended = process.wait(PATIENCE)
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    return ended


def assert_stopped_in_order(ended: Ended, left: Leavings, number: signal.Signals) -> None:
    """Assert what holds for a run that a signal ended while documents were in flight."""
    assert_complete(left)
    assert ended.exit_code == EXIT_CODES[number]
    assert (left.run["outcome"], left.run["reason"]) == ("incomplete", f"signal:{number.name}")
    outcomes = Counter(str(row["outcome"]) for row in left.documents)
    result = ended.result
    assert (result["exit_code"], result["reason"]) == (ended.exit_code, left.run["reason"])
    counts = result["documents"]
    assert isinstance(counts, dict)
    assert counts == {**dict.fromkeys(counts, 0), **outcomes, "total": len(left.documents)}
    assert outcomes.keys() <= {"succeeded", "cancelled"}
    artifacts = left.path.parents[1] / "artifacts"
    assert len(list(artifacts.iterdir())) == outcomes["succeeded"]
    usage = result["usage"]
    assert isinstance(usage, dict)
    assert len(left.attempts) == usage["attempts"]
    assert sum(int(str(row["charged_tokens"])) for row in left.attempts) == usage["charged_tokens"]


@pytest.mark.parametrize("trial", trials(FAST, ALL))
def test_a_signal_during_busy_documents_ends_the_run_in_order(launcher: Launcher, tmp_path: Path, trial: int) -> None:
    """None hangs, all files are whole, no document counts as done without its artifact."""
    rng = random.Random(trial)
    number, moment = SIGNALS[trial % 2], rng.randrange(60 if trial in FAST else ATTEMPTS * 3 // 4)
    with open_separate_simulator(launcher, tmp_path / "server", latency={"min": 0.05, "max": 0.2}) as simulator:
        project, process = busy_run(launcher, simulator, tmp_path / "project")
        wait_until(lambda: logged(project, "DOCUMENT_STARTED") == DOCUMENTS, 30, lambda: process.stderr)
        wait_until(lambda: logged(project, "ATTEMPT") >= moment, 30, lambda: process.stderr)

        ended = ended_after(process, number)

        requests = simulator.requests()
    (run,) = project.runs()
    left = Leavings(run)
    assert_stopped_in_order(ended, left, number)
    assert len(left.documents) == DOCUMENTS
    assert len(left.attempts) >= requests, "the server saw a request that is no row"


def opening(project: Project) -> bool:
    """Say whether the run has begun to leave something."""
    return project.logs.exists()


def logging(project: Project) -> bool:
    """Say whether the run log has a line."""
    return any(path.stat().st_size for path in project.logs.glob("trial-*/trial.log"))


@pytest.mark.parametrize("moment", [opening, logging])
@pytest.mark.parametrize("trial", trials(range(1), range(10)))
def test_a_signal_while_files_are_opened_ends_the_run_with_whole_files(
    launcher: Launcher, tmp_path: Path, moment: Callable[[Project], bool], trial: int
) -> None:
    """A run directory that exists becomes a whole one, and a signal that came too early to be obeyed is not lost."""
    number = SIGNALS[(trial + (moment is logging)) % 2]
    with open_separate_simulator(launcher, tmp_path / "server", faults=[{"kind": "hang"}]) as simulator:
        project = make_project(tmp_path / "project", prose(1), base_url=simulator.base_url)
        process = launcher.start("run", project.config, "--json", cwd=tmp_path)
        wait_until(lambda: moment(project), 30, lambda: process.stderr)
        time.sleep(random.Random(trial).uniform(0, 0.03) if trial else 0)

        ended = ended_after(process, number)

    assert ended.exit_code == EXIT_CODES[number]
    for run in project.runs():
        assert_stopped_in_order(ended, Leavings(run), number)


@pytest.mark.parametrize("trial", trials(range(1), range(10)))
def test_a_signal_while_files_are_closed_leaves_them_whole(
    launcher: Launcher, simulator: SeparateSimulator, tmp_path: Path, trial: int
) -> None:
    """The last request is answered; whether the run still counts as stopped or not, nothing is torn."""
    number = SIGNALS[trial % 2]
    project = make_project(tmp_path, prose(1), base_url=simulator.base_url)
    process = launcher.start("run", project.config, "--json", cwd=tmp_path)
    wait_until(lambda: logged(project, "ATTEMPT") >= 4, 30, lambda: process.stderr)
    time.sleep(random.Random(trial).uniform(0, 0.1) if trial else 0)

    ended = ended_after(process, number)

    # Once the result is printed, the interpreter's own exit is all that a signal can cut short.
    assert ended.exit_code in {0, EXIT_CODES[number]} | ({-number} if '"run_id"' in ended.stdout else set())
    (run,) = project.runs()
    assert_complete(Leavings(run))


def test_further_signals_change_nothing(launcher: Launcher, tmp_path: Path) -> None:
    """Whoever presses Ctrl-C again while the run is flushing gets the same whole files."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.2) as simulator:
        project, process = busy_run(launcher, simulator, tmp_path / "project")
        wait_until(lambda: logged(project, "ATTEMPT") >= 5, 30, lambda: process.stderr)

        process.signal(signal.SIGINT)
        wait_until(lambda: "stopping" in process.stderr, PATIENCE, lambda: process.stderr)
        process.signal(signal.SIGTERM)
        ended = ended_after(process, signal.SIGINT)

    (run,) = project.runs()
    assert_stopped_in_order(ended, Leavings(run), signal.SIGINT)
