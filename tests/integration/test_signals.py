"""Signals at any moment of a run: it ends in steps, in order, and what it leaves can be gone on with."""

import json
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator

from agent_pipeline.domain.document import JsonValue

DOCUMENTS = 100
ATTEMPTS = 4 * DOCUMENTS
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 6.0
"""Seconds from the signal to the end; measured are 0.2 on a quiet machine, the rest is for a busy one."""
GRACE = 0.2
SHORT: Mapping[str, JsonValue] = {"timeouts": {"grace": GRACE}}
LONG: Mapping[str, JsonValue] = {"timeouts": {"grace": None}}

FAST, ALL = range(3), range(20)


def trials(fast: range, every: range) -> list[object]:
    """Return the trials as parameters; all but the first few are slow."""
    return [pytest.param(n, marks=() if n in fast else pytest.mark.slow) for n in every]


def busy_run(
    launcher: Launcher, simulator: SeparateSimulator, root: Path, limits: Mapping[str, JsonValue] = SHORT
) -> tuple[Project, Process]:
    """Start a run of 100 documents that are all in flight."""
    project = make_project(root, prose(DOCUMENTS), base_url=simulator.base_url, limits=limits)
    return project, launcher.start("run", project.config, "--json", cwd=root)


def logged(project: Project, event: str) -> int:
    """Return how many such events the run log shows by now."""
    logs = list(project.logs.glob("trial-*/trial.log"))
    return logs[0].read_text(encoding="utf-8").count(f" {event} ") if logs else 0


def ended_after(process: Process, *numbers: signal.Signals) -> Ended:
    """Send signals, each once the one before has been taken, and wait; fails where the process hangs."""
    for number in numbers:
        process.signal(number)
        time.sleep(0.02 if len(numbers) > 1 else 0)
    ended = process.wait(PATIENCE)
    assert "Traceback" not in ended.stderr, ended.stderr
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
        project = make_project(tmp_path / "project", prose(1), base_url=simulator.base_url, limits=SHORT)
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

    assert ended.exit_code in {0, EXIT_CODES[number]}
    (run,) = project.runs()
    assert_complete(Leavings(run))


def _answered(process: Process, words: str) -> None:
    wait_until(lambda: words in process.stderr, PATIENCE, lambda: process.stderr)


def test_first_signal_lets_documents_in_flight_finish(launcher: Launcher, tmp_path: Path) -> None:
    """What is paid for is kept; no other is begun; the user is told what one more Ctrl-C does."""
    limits: Mapping[str, JsonValue] = {**LONG, "documents_in_flight": 10}
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.05) as simulator:
        project, process = busy_run(launcher, simulator, tmp_path / "project", limits)
        wait_until(lambda: logged(project, "ATTEMPT") >= 5, 30, lambda: process.stderr)

        ended = ended_after(process, signal.SIGINT)

    (run,) = project.runs()
    left = Leavings(run)
    assert_stopped_in_order(ended, left, signal.SIGINT)
    assert "no new documents, those in flight may finish; Ctrl-C again cancels them" in ended.stderr
    assert {row["outcome"] for row in left.documents} == {"succeeded"}
    assert 10 <= len(left.documents) < DOCUMENTS
    assert left.named("PIPELINE_CANCELLING") == []


def test_second_signal_cancels_documents_in_flight(launcher: Launcher, tmp_path: Path) -> None:
    """However long they might have gone on; the exit code is the first one's."""
    with open_separate_simulator(launcher, tmp_path / "server", faults=[{"kind": "hang"}]) as simulator:
        project, process = busy_run(launcher, simulator, tmp_path / "project", LONG)
        wait_until(lambda: logged(project, "DOCUMENT_STARTED") == DOCUMENTS, 30, lambda: process.stderr)
        wait_until(lambda: simulator.requests() > 0, 30, lambda: process.stderr)

        process.signal(signal.SIGTERM)
        _answered(process, "another signal cancels them")
        ended = ended_after(process, signal.SIGINT)

    (run,) = project.runs()
    left = Leavings(run)
    assert_stopped_in_order(ended, left, signal.SIGTERM)
    assert [line.fields["reason"] for line in left.named("PIPELINE_CANCELLING")] == ["signal:SIGINT"]
    assert sum(int(str(row["charged_tokens"])) for row in left.attempts) > 0


def test_hang_up_is_a_signal_like_the_others(launcher: Launcher, tmp_path: Path) -> None:
    """The terminal is closed; what it paid for is kept."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.1) as simulator:
        project, process = busy_run(launcher, simulator, tmp_path / "project")
        wait_until(lambda: logged(project, "ATTEMPT") >= 5, 30, lambda: process.stderr)

        ended = ended_after(process, signal.SIGHUP)

    (run,) = project.runs()
    assert_stopped_in_order(ended, Leavings(run), signal.SIGHUP)


NOHUP = """
import signal
import sys

from agent_pipeline.cli import main

signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(main(sys.argv[1:]))
"""


def test_hang_up_is_ignored_under_nohup(launcher: Launcher, tmp_path: Path) -> None:
    """Whoever starts a run like this wants it to outlive the terminal."""
    script = tmp_path / "nohup.py"
    script.write_text(NOHUP, encoding="utf-8")
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.1) as simulator:
        project = make_project(tmp_path / "project", prose(4), base_url=simulator.base_url)
        process = launcher.start("run", project.config, "--json", cwd=tmp_path, script=script)
        wait_until(lambda: logged(project, "ATTEMPT") >= 1, 30, lambda: process.stderr)

        ended = ended_after(process, signal.SIGHUP)

    assert (ended.exit_code, ended.result["reason"]) == (0, None)


MOMENTS: Mapping[str, Callable[[Project], bool]] = {
    "opening": opening,
    "logging": logging,
    "working": lambda project: logged(project, "ATTEMPT") >= 1,
    "closing": lambda project: logged(project, "PIPELINE_FINISHED") == 1,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("trial", trials(range(1), range(8)))
def test_third_signal_leaves_at_once_whatever_goes_on(
    launcher: Launcher, tmp_path: Path, moment: str, trial: int
) -> None:
    """Somebody presses Ctrl-C three times: the process goes, and what is in its files can be read."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.1) as simulator:
        project = make_project(tmp_path / "project", prose(2), base_url=simulator.base_url, limits=LONG)
        process = launcher.start("run", project.config, "--json", cwd=tmp_path)
        wait_until(lambda: MOMENTS[moment](project), 30, lambda: process.stderr)
        time.sleep(random.Random(trial).uniform(0, 0.03) if trial else 0)

        ended = ended_after(process, signal.SIGINT, signal.SIGTERM, signal.SIGINT)

    # Two that are pending at once arrive in any order, so either may be the first. It may have been faster, too.
    assert ended.exit_code in {130, 143, *({0} if '"run_id"' in ended.stdout else ())}
    for run in project.runs():
        assert_readable(Leavings(run))


def test_what_was_left_at_once_can_be_gone_on_with(launcher: Launcher, tmp_path: Path) -> None:
    """Each document that was accepted has an ending by then, and the next session takes it up again."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.5) as simulator:
        project = make_project(tmp_path / "project", prose(10), base_url=simulator.base_url, limits=LONG)
        process = launcher.start("run", project.config, "--json", cwd=tmp_path)
        wait_until(lambda: simulator.requests() >= 10, 30, lambda: process.stderr)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):  # faster than a hundred requests are cancelled
            process.signal(number)
            time.sleep(0.002)
        left_at_once = process.wait(PATIENCE)
        (run,) = project.runs()
        accepted = Leavings(run).documents
        verified = launcher.start("verify", run, cwd=tmp_path).wait()
        resumed = launcher.start("resume", run, "--json", cwd=tmp_path).wait()
        verified_again = launcher.start("verify", run, cwd=tmp_path).wait()

    assert left_at_once.exit_code == 130
    assert {row["outcome"] for row in accepted} == {"cancelled"}
    assert len(accepted) == 10
    assert (verified.exit_code, resumed.exit_code, verified_again.exit_code) == (0, 0, 0), verified.stdout
    assert {row["outcome"] for row in Leavings(run).documents} == {"succeeded"}


LATE = """
import atexit
import signal
import sys

from agent_pipeline.cli import main

atexit.register(signal.raise_signal, signal.SIGINT)
sys.exit(main())
"""


def test_a_signal_while_the_interpreter_leaves_is_no_traceback(launcher: Launcher, tmp_path: Path) -> None:
    """All is done and printed by then."""
    script = tmp_path / "late.py"
    script.write_text(LATE, encoding="utf-8")

    ended = launcher.start("--version", cwd=tmp_path, script=script).wait()

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("agent-pipeline ")


def assert_readable(left: Leavings) -> None:
    """Assert what holds after a run was left at once: what was written is whole, and what counts as done is done."""
    assert not left.log_path.exists() or left.log is not None
    assert not (left.path / "events.jsonl").exists() or left.events is not None
    ledger = left.path / "ledger.sqlite3"
    if not ledger.exists():
        return
    with closing(sqlite3.connect(ledger)) as connection:  # as the next session opens it
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'documents'").fetchall():
            return  # left before there was any
        done = connection.execute("SELECT artifact_path FROM documents WHERE outcome = 'succeeded'").fetchall()
    assert all(Path(path).is_file() for (path,) in done)


STAYS = """
import trio
from agent_pipeline import stage

@stage(role="writer")
async def stay(document, context):
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
    return document
"""


def test_leaving_at_once_says_what_is_left_and_how_to_go_on(launcher: Launcher, tmp_path: Path) -> None:
    """In one line, and in the run log."""
    project = make_project(tmp_path, prose(30), stages=("own_stages:stay",), own_stages=STAYS, limits=LONG)
    process = launcher.start("run", project.config, "--offline", cwd=tmp_path)
    wait_until(lambda: logged(project, "STAGE_STARTED") == 30, 30, lambda: process.stderr)

    ended = ended_after(process, signal.SIGTERM, signal.SIGINT, signal.SIGINT)

    (run,) = project.runs()
    assert ended.exit_code == 143
    farewell = ended.stderr.splitlines()[-1]
    place = f"{project.root}/own_stages.py:8 stay"
    assert farewell.startswith(f"left without waiting for d0001 (stage stay) at {place}, d0002 (stage stay) at")
    assert farewell.endswith(f"and 10 more; what is finished is kept; to go on: agent-pipeline resume {run}")
    left = Leavings(run)
    assert_readable(left)
    (abandoned,) = left.named("PIPELINE_ABANDONED")
    assert len(json.loads(abandoned.fields["culprits"])) == 21
    assert {(row["outcome"], row["error_code"]) for row in left.documents} == {("cancelled", "interrupted")}
    assert len(left.documents) == 30
    assert left.named("PIPELINE_FINISHED") == []
