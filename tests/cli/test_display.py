"""What is shown while a run goes on."""

import io
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from agent_pipeline.cli.display.choice import choose_display
from agent_pipeline.cli.display.full import FullDisplay
from agent_pipeline.cli.display.plain import PlainDisplay
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.flags import DisplayKind
from agent_pipeline.cli.output import Channel
from agent_pipeline.domain.engine_events import WorkerLost, WorkerReady
from agent_pipeline.domain.events import (
    DocumentFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineStarted,
    RunCancelling,
    RunStopping,
    StageFinished,
    StageStarted,
    Stall,
    TaskTreeWritten,
)
from agent_pipeline.domain.limit_events import BreakerChanged, LiveEditRefused, LiveValueChanged
from agent_pipeline.telemetry import Redactor

BEGUN = datetime(2026, 11, 20, 10, tzinfo=UTC)


def _started(documents: int | None = 3) -> PipelineStarted:
    return PipelineStarted("r", "tiny", "/run", "1", ["route", "name"], 10, 5, simulator=True, documents=documents)


def _failed(document_id: str, error: str) -> list[Event]:
    return [
        PipelineFailure(document_id, "name", None, "bad_answer", error),
        DocumentFinished(document_id, "failed", 0, None, "bad_answer", 1.0),
    ]


@dataclass
class Plain:
    """A plain display, and what it wrote."""

    stream: io.StringIO
    display: PlainDisplay

    def give(self, seconds: float, *events: Event) -> list[str]:
        """Hand events over; return the lines they made."""
        self.stream.seek(0)
        self.stream.truncate()
        for event in events:
            self.display.handle(event, BEGUN + timedelta(seconds=seconds))
        self.display.flush()
        return [line.strip() for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def plain() -> Plain:
    """A plain display of a run that has begun."""
    stream = io.StringIO()
    made = Plain(stream, PlainDisplay(Progress(), Channel(stream), Redactor(["hunter22"])))
    made.give(0, _started())
    return made


def test_each_document_that_ends_is_a_line(plain: Plain) -> None:
    """In a CI log one wants to see which one it was."""
    lines = plain.give(
        1.5,
        DocumentStarted("a", 1, None, 10),
        DocumentFinished("a", "succeeded", 2, str(Path("x") / "a.md"), None, 1.0),
    )

    assert lines == ["1.5 s  1/3 document a succeeded: a.md (2 reworks)"]


def test_a_failure_tells_where_and_why_without_secrets_or_escapes(plain: Plain) -> None:
    """Error texts quote providers and models."""
    lines = plain.give(2, *_failed("b", "refused \x1b[31mhunter22\nline two"))

    assert lines == ["2.0 s  1/3 document b failed at name: bad_answer: refused [redacted] line two"]


def test_between_documents_there_is_a_line_every_ten_seconds_at_most(plain: Plain) -> None:
    """A run of an hour must not look dead, nor fill the log."""
    told = [plain.give(seconds, StageStarted("a", "route", 1)) for seconds in (1, 5, 9.9, 10, 15, 19.9, 20)]

    assert [len(lines) for lines in told] == [0, 0, 0, 1, 0, 0, 1]
    assert told[3] == ["10.0 s  0 of 3 documents, 1 in flight"]


def test_a_run_over_workers_says_what_it_waits_for_and_who_was_lost(plain: Plain) -> None:
    """A worker takes half a minute to start, or finds no place in a cluster that is full."""
    lost = WorkerLost(1, "its worker process has died", documents=5, in_flight=3, given_up=1)

    plain.give(0, replace(_started(), engine="ray", workers=2))
    waiting = plain.give(10, StageStarted("a", "route", 1))
    told = plain.give(11, WorkerReady(1, "here", 7), lost, WorkerReady(2, "here", 8))
    working = plain.give(21, StageStarted("b", "route", 1))
    complete = plain.give(31, WorkerReady(3, "here", 9))

    assert waiting == ["10.0 s  0 of 3 documents, waiting for a worker"]
    assert told == ["11.0 s  worker 1 was lost (its worker process has died); its 4 documents go to others"]
    assert working == ["21.0 s  0 of 3 documents, 2 in flight, 1 of up to 2 workers ready"]
    assert complete == ["31.0 s  0 of 3 documents, 2 in flight"]


@pytest.mark.parametrize(
    ("documents", "given_up", "words"),
    [(0, 0, ""), (1, 1, ""), (1, 0, "; its 1 document goes to others"), (3, 1, "; its 2 documents go to others")],
)
def test_what_a_lost_worker_had_is_told_if_it_had_something(
    plain: Plain, documents: int, given_up: int, words: str
) -> None:
    """Nothing goes anywhere where there was nothing."""
    lost = WorkerLost(1, "it is gone", documents=documents, in_flight=0, given_up=given_up)

    assert plain.give(1, lost) == [f"1.0 s  worker 1 was lost (it is gone){words}"]


def test_a_document_that_goes_on_with_another_worker_is_in_one_stage() -> None:
    """Nobody tells how the stage ended in which its worker was lost."""
    progress = Progress()
    begun = (DocumentStarted("a", 1, None, 1), StageStarted("a", "route", 1))

    for event in (_started(), *begun, WorkerLost(1, "gone", 1, 1, 0), StageStarted("a", "route", 1)):
        progress.take(event, BEGUN)

    assert (len(progress.in_flight), progress.stages["route"].running) == (1, 1)


def test_a_run_that_stops_does_not_say_that_it_waits_for_workers(plain: Plain) -> None:
    """It did when it was stopped; whoever pressed Ctrl-C would think that it was not."""
    plain.give(0, replace(_started(), engine="ray", workers=2))

    plain.give(5, RunStopping("signal:SIGINT", "SIGINT received"))

    assert plain.give(15, StageStarted("a", "route", 1)) == ["15.0 s  0 of 3 documents, 1 in flight"]


def test_why_a_run_stops_is_told_at_once(plain: Plain) -> None:
    """Ctrl-C deserves an answer."""
    assert plain.give(3, RunStopping("signal:SIGINT", "SIGINT received")) == ["3.0 s  stopping: SIGINT received"]
    assert plain.give(4, RunStopping("signal:SIGINT", "no new documents", "Ctrl-C again cancels them")) == [
        "4.0 s  stopping: no new documents; Ctrl-C again cancels them"
    ]
    assert plain.give(5, RunCancelling("deadline:grace")) == ["5.0 s  cancelling documents in flight (deadline:grace)"]


def test_no_line_shows_a_key(plain: Plain) -> None:
    """Wherever in it one is: an id, a word of a stage, why the run stops."""
    told = plain.give(1, *_failed("hunter22", "x"))
    told += plain.give(2, RunStopping("credentials_rejected", "the provider refused hunter22"))

    assert "document [redacted] failed" in told[0]
    assert told[1] == "2.0 s  stopping: the provider refused [redacted]"


def test_who_holds_everything_up_is_told(plain: Plain) -> None:
    """And where to read more; an attempt that stands still is told by its outcome."""
    assert plain.give(9, Stall("loop", "a", "own.py:7 nap, in document a", 5.2), Stall("attempt", "a", "x", 60)) == [
        "9.0 s  nothing else has run for 5 s: own.py:7 nap, in document a"
    ]
    assert plain.give(9, TaskTreeWritten("SIGUSR1", "/run/tasks/tree-001.txt")) == [
        "9.0 s  task tree in /run/tasks/tree-001.txt"
    ]


def test_a_provider_that_fails_for_all_is_told_when_it_begins_and_ends(plain: Plain) -> None:
    """Nothing moves meanwhile, and only this says why; that a probe goes is no news."""
    told = [
        plain.give(seconds, BreakerChanged("openai", "m", state, f"now {state}"))
        for seconds, state in enumerate(("open", "half_open", "closed", "down"), 2)
    ]

    assert told == [["2.0 s  openai m: now open"], [], ["4.0 s  openai m: now closed"], ["5.0 s  openai m: now down"]]


def test_what_an_edit_of_the_live_file_did_is_told(plain: Plain) -> None:
    """Who edits it looks here for the answer, above all where it was refused."""
    told = plain.give(
        2,
        LiveValueChanged("requests_per_minute", None, 500, 1),
        LiveEditRefused("live.json:1:2: docs: unknown key hunter22"),
    )

    assert told == [
        "2.0 s  live: requests_per_minute is 500 now, was null",
        "2.0 s  live file refused, nothing of it counts: live.json:1:2: docs: unknown key [redacted]",
    ]


def test_the_live_view_shows_outages_that_last_and_the_last_edit() -> None:
    """What is over is no longer shown."""
    progress = Progress()
    stream = io.StringIO()
    display = FullDisplay(progress, Console(file=stream, width=100), Redactor())
    for event in (
        BreakerChanged("openai", "one", "open", "fails"),
        BreakerChanged("openai", "two", "open", "fails, too"),
        BreakerChanged("openai", "two", "half_open", "a probe"),
        BreakerChanged("openai", "one", "closed", "answers"),
        LiveEditRefused("a mistake"),
        LiveValueChanged("documents_in_flight", 3, 4, 1),
    ):
        display.handle(event, BEGUN)
    display.start(lambda _event: None)
    display.close()

    shown = stream.getvalue()
    assert "openai two: fails, too" in shown
    assert "live: documents_in_flight is 4 now, was 3" in shown
    assert not any(words in shown for words in ("openai one", "a probe", "a mistake"))


def test_of_a_large_run_the_state_is_told_and_some_failures(plain: Plain) -> None:
    """A million lines help nobody; the failures of ten seconds may be all alike."""
    ends = [
        line for n in range(19) for line in plain.give(1, DocumentFinished(str(n), "succeeded", 0, None, None, 1.0))
    ]
    last = plain.give(1, DocumentFinished("19", "succeeded", 0, None, None, 1.0))
    after = plain.give(1, DocumentFinished("20", "succeeded", 0, None, None, 1.0))
    failures = [line for n in range(8) for line in plain.give(2, *_failed(f"f{n}", "no"))]
    later = plain.give(11.5, *_failed("late", "no"))

    assert len(ends) == 19
    assert last == ["1.0 s  20/3 document 19 succeeded; from here on failures, and the state every 10 s"]
    assert after == []
    assert [line.split()[4] for line in failures] == ["f0", "f1", "f2", "f3", "f4"]
    assert later == [
        "11.5 s  29 of 3 documents, 8 failed, 0 in flight",
        "11.5 s  30/3 document late failed at name: bad_answer: no",
    ]


def test_the_state_is_told_also_when_nothing_happens() -> None:
    """A model may think for minutes, and the log of a CI job must not look dead."""
    told = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "0 of 3 documents" in text:
                told.set()
            return super().write(text)

    display = PlainDisplay(Progress(), Channel(Stream()), Redactor(), now=lambda: BEGUN + timedelta(seconds=10))
    display.start(lambda _: None)
    display.handle(_started(), BEGUN)

    assert told.wait(5)
    display.close()
    assert not any(thread.name == "display" for thread in threading.enumerate())


def test_progress_forgets_documents_that_have_ended() -> None:
    """Its size follows the documents in flight, not the run."""
    progress = Progress()
    for number in range(100):
        progress.take(DocumentStarted(str(number), number, None, 1), BEGUN)
        progress.take(StageStarted(str(number), "route", 1), BEGUN)
        progress.take(StageFinished(str(number), "route", 1, 0.5 + number, None), BEGUN)
        progress.take(DocumentFinished(str(number), "succeeded", 0, None, None, 1.0), BEGUN)

    assert progress.in_flight == {}
    assert progress.done == 100
    assert (progress.stages["route"].running, progress.stages["route"].done) == (0, 100)


def test_the_live_view_ends_for_good() -> None:
    """A picture drawn after the summary would overwrite it; a cursor left hidden stays hidden."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    display = FullDisplay(Progress(), console, Redactor(["hunter22"]), now=lambda: BEGUN + timedelta(seconds=7))
    display.start(lambda _: None)
    display.handle(_started(), BEGUN)
    display.handle(StageStarted("a", "route", 1), BEGUN)
    for event in (*_failed("b hunter22", "no \x1b]0;title\x07answer"), RunStopping("x", "no more of hunter22")):
        display.handle(event, BEGUN)

    display.close()
    drawn = stream.getvalue()
    display.stop()
    display.flush()

    last = drawn.rsplit("\x1b[2K", 1)[-1]
    assert "1/3" in drawn
    assert "7 s" in drawn
    assert "1 failed, 1 in flight" in drawn
    assert "bad_answer: no answer" in drawn
    assert "title" not in drawn
    assert "document b [redacted]" in drawn
    assert "no more of [redacted]" in drawn
    assert "\x1b[?25h" in last
    assert stream.getvalue() == drawn


@pytest.mark.parametrize(
    ("wanted", "quiet", "terminal", "environ", "kind"),
    [
        (None, False, True, {}, "full"),
        (None, False, True, {"NO_COLOR": "1"}, "full"),
        (None, False, True, {"CI": "true"}, "plain"),
        (None, False, True, {"TERM": "dumb"}, "plain"),
        (None, False, False, {}, "plain"),
        ("full", False, False, {}, "plain"),
        ("full", False, True, {"CI": "true"}, "full"),
        ("log", False, True, {}, "log"),
        ("none", False, True, {}, "none"),
        ("log", True, True, {}, "none"),
        (None, True, True, {}, "none"),
    ],
)
def test_the_display_fits_what_reads_it(
    wanted: DisplayKind | None,
    quiet: bool,  # noqa: FBT001 - a column of the table above
    terminal: bool,  # noqa: FBT001
    environ: dict[str, str],
    kind: str,
) -> None:
    """A live view in a log file is noise; NO_COLOR takes the colour only."""
    assert kind in get_args(DisplayKind)
    assert choose_display(wanted, quiet=quiet, terminal=terminal, environ=environ) == kind
