"""What the picture of a live view says."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from tests.telemetry.attempts import ATTEMPT

from agent_pipeline.cli.display.picture import picture
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.display.words import left_words, spent_words
from agent_pipeline.domain.events import (
    AttemptFinished,
    DocumentFinished,
    Event,
    PipelineFailure,
    PipelineStarted,
    RunStopping,
    StageFinished,
    StageReused,
    StageStarted,
)
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.snapshot import LaneState, OldestCall, RunSnapshot, Spent
from agent_pipeline.domain.usage import AttemptOutcome
from agent_pipeline.telemetry import Redactor

BEGUN = datetime(2026, 11, 20, 10, tzinfo=UTC)

STATE = RunSnapshot(
    lanes=(LaneState("openai", "gpt-5-mini", in_flight=18, limit=40, waiting=7, cooldown=11.2),),
    waiting={"route": 1},
    oldest=OldestCall("a\x1b[31m", "route", 61.0, is_sent=False),
    tokens=Spent(1_500, 700, 2_000_000),
    micro_usd=Spent(12_345, 0, 50_000),
    unknown_cost=False,
    kept=0,
)


def _started(documents: int) -> PipelineStarted:
    return PipelineStarted("r", "tiny", "/run", "1", ["route", "name"], 10, 5, simulator=True, documents=documents)


def _drawn(progress: Progress, *, width: int = 110, seconds: float = 20) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    console.print(picture(progress, BEGUN + timedelta(seconds=seconds), Redactor(["hunter22"]).text, width=width))
    return stream.getvalue()


def _attempt(number: int, status: int, *, cost: int | None = 2_000) -> AttemptFinished:
    outcome: AttemptOutcome = "succeeded" if status == 200 else "failed"
    return AttemptFinished(
        replace(ATTEMPT, number=number, status_code=status, stage="route", outcome=outcome, cost_micro_usd=cost)
    )


def _busy() -> Progress:
    """A run of four documents: one is done, one in its second stage, one in its first, one was there already."""
    progress = Progress()
    events: list[Event] = [
        _started(4),
        *(StageStarted(name, "route", 1) for name in "abc"),
        _attempt(1, 200),
        _attempt(1, 429),
        _attempt(2, 200, cost=None),
        *(StageFinished(name, "route", 1, seconds, None) for name, seconds in (("a", 1.0), ("b", 3.0))),
        StageReused("d", "route", 1),
        StageStarted("a", "name", 1),
        StageFinished("a", "name", 1, 0.25, "bad_answer"),
        DocumentFinished("a", "failed", 0, None, "bad_answer", 2.0),
        StageStarted("b", "name", 1),
    ]
    for event in events:
        progress.take(event, BEGUN)
    progress.take(LimitChanged("openai", "gpt-5-mini", 50, 40, "rate_limited"), BEGUN + timedelta(seconds=8))
    progress.state = STATE
    return progress


def test_the_picture_has_a_row_for_each_stage() -> None:
    """Where documents are, how long it takes them, what it costs; a price nobody knows is not nothing."""
    rows = [line.split() for line in _drawn(_busy()).splitlines()]

    assert ["stage", "waiting", "running", "done", "cached", "failed", "p50", "p95", "tokens", "cost"] in rows
    charged = f"{3 * ATTEMPT.charged_tokens:,}"
    assert ["route", "1", "0", "2", "1", "0", "1.00", "s", "3.00", "s", charged, "$0.0040+"] in rows
    assert ["name", "0", "1", "0", "0", "1", "-", "-", "0", "$0"] in rows


def test_the_picture_says_what_is_spent_and_what_will_be() -> None:
    """Of what cap; and, as of a known part of the run, the whole."""
    drawn = _drawn(_busy())  # one and a half of four documents

    assert "1,500 of 2,000,000 tokens (about 4,000 in all) · $0.0123 of $0.0500 (about $0.0329 in all) (simulated)" in (
        drawn
    )
    assert "SIMULATOR, no model is asked" in drawn


def test_the_picture_says_what_requests_do_and_who_waits_longest() -> None:
    """And why their limit is what it is; an id can't move the cursor."""
    drawn = _drawn(_busy())

    requests = "18 of 40 requests to gpt-5-mini (7 waiting) (paused for 12 s by 429) · 1 answers 429 · 1 retries"
    assert requests in drawn
    change = "limit 50 → 40 12 s ago: the provider said 429 · oldest request 1 min 01 s, document a at route, waiting"
    assert change in drawn


def test_a_narrow_terminal_gets_what_matters_most() -> None:
    """Nothing wraps: a wrapped table is none."""
    drawn = _drawn(_busy(), width=70)

    assert "tokens  " not in drawn
    assert max(map(len, drawn.splitlines())) <= 70
    assert [line.split()[:2] for line in drawn.splitlines()].count(["route", "1"]) == 1


def test_the_last_three_failures_stay_in_the_picture() -> None:
    """The newest say most."""
    progress = Progress()
    for number in range(5):
        progress.take(PipelineFailure(f"d{number}", "name", None, "bad_answer", "no hunter22"), BEGUN)

    drawn = [line for line in _drawn(progress).splitlines() if line.startswith("failed")]

    assert drawn == [f"failed: document d{n} at name: bad_answer: no [redacted]" for n in (2, 3, 4)]


def test_what_is_left_follows_the_pace_and_is_not_told_of_a_run_that_stops() -> None:
    """A document counts by its stages: ten seconds before the first ends one can tell already."""
    progress = Progress()
    progress.take(_started(2), BEGUN)
    left = []
    for second, event in ((0, StageStarted("a", "route", 1)), (10, StageStarted("a", "name", 1))):
        progress.take(event, BEGUN)
        left.append(left_words(progress, BEGUN + timedelta(seconds=second)))

    assert left == ["", "about 30 s left"]
    progress.take(RunStopping("x", "enough"), BEGUN)
    assert left_words(progress, BEGUN + timedelta(seconds=20)) == ""


def test_at_the_end_nothing_is_left_and_nothing_is_guessed() -> None:
    """What was spent is known by then."""
    progress = _busy()
    for name in "bcd":
        progress.take(DocumentFinished(name, "succeeded", 0, None, None, 1.0), BEGUN)

    drawn = _drawn(progress)

    assert "left" not in drawn
    assert "in all" not in drawn


def test_documents_of_earlier_sessions_are_done_and_say_nothing_of_the_pace() -> None:
    """Else a resumed run would look as if it flew."""
    progress = Progress()
    progress.take(_started(10), BEGUN)
    progress.state = replace(STATE, kept=8)
    progress.take(StageStarted("i", "name", 1), BEGUN)

    assert (progress.done, progress.fraction) == (8, 0.25)


def test_a_price_that_nobody_knows_is_told_as_unknown() -> None:
    """Zero dollars would be a lie."""
    progress = Progress(state=replace(STATE, micro_usd=Spent(0, 0, None), unknown_cost=True))

    assert list(spent_words(progress)) == ["1,500 of 2,000,000 tokens", "cost unknown"]
