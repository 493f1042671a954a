"""Figures of a report against plain ways to find them."""

from array import array
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import SessionRow
from agent_pipeline.report.choosing import Candidate, choose
from agent_pipeline.report.shares import quantile
from agent_pipeline.report.stage_figures import BARS, histogram
from agent_pipeline.report.timeline import STEPS, Course, LimitStep, timeline
from agent_pipeline.report.working_time import WorkingTime

BEGUN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def session(number: int, start: float, end: float | None, reason: str | None = None) -> SessionRow:
    ended = None if end is None else BEGUN + timedelta(seconds=end)
    return SessionRow(number, 1, "host", "0", "", BEGUN + timedelta(seconds=start), ended, None, reason)


def attempt(start: float, seconds: float, *, status: int = 200, tokens: int = 1, model: str = "m") -> AttemptRecord:
    return AttemptRecord(
        attempt_id="a",
        document_id="d",
        stage="s",
        cycle=1,
        role="r",
        provider="p",
        model=model,
        number=1,
        sent=True,
        outcome="succeeded" if status == 200 else "failed",
        status_code=status,
        error_code=None,
        error=None,
        wait_seconds=0,
        wait_reason=None,
        latency_seconds=seconds,
        usage=None,
        reserved_tokens=0,
        charged_tokens=tokens,
        cost_micro_usd=None,
        provider_request_id=None,
        method="POST",
        path="/",
        started_at=BEGUN + timedelta(seconds=start),
    )


def seconds_of(time: WorkingTime, second: float) -> float:
    return time.at(BEGUN.timestamp() + second)


def test_time_between_sessions_does_not_count() -> None:
    """Nor does the time until somebody found that a process had been killed."""
    time = WorkingTime(
        [session(1, 0, 10), session(2, 100, 5000, "killed"), session(3, 5000, None)],
        {2: BEGUN.timestamp() + 130, 3: BEGUN.timestamp() + 5004},
    )

    assert time.total == 10 + 30 + 4
    assert time.beginnings == [10, 40]
    assert [seconds_of(time, second) for second in (-5, 4, 50, 100, 131, 5001, 9999)] == [0, 4, 10, 10, 40, 41, 44]


def test_a_run_without_sessions_has_no_time() -> None:
    """A damaged ledger may have none."""
    time = WorkingTime([], {})

    assert (time.total, seconds_of(time, 3)) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30)), min_size=1, max_size=30))
def test_the_most_requests_at_once_is_found(spans: list[tuple[int, int]]) -> None:
    """Against counting at every moment; a request that ends as another begins makes room for it."""
    course = Course()
    for start, length in spans:
        course.add(attempt(start, length))
    expected = max(
        sum(start <= moment < start + length or (start == moment and not length) for start, length in spans)
        for moment in range(131)
    )

    found = timeline(course, WorkingTime([session(1, 0, 100)], {}))

    assert found.peak == expected
    (lane,) = found.lanes
    assert max(lane.in_flight) == found.peak
    assert found.tokens[-1] == len(spans)


def test_each_lane_has_its_own_line_and_limit() -> None:
    """The sum of all limits says nothing of the one that binds."""
    course = Course()
    for start in range(10):
        course.add(attempt(start, 2, model="busy"))
    course.add(attempt(5, 90, model="idle"))
    course.limits = {("p", "busy"): 10, ("p", "idle"): 10}
    course.steps = [LimitStep(BEGUN.timestamp() + 50, ("p", "busy"), 20)]

    found = timeline(course, WorkingTime([session(1, 0, 100)], {}))

    busy, idle = found.lanes
    assert (busy.name, idle.name) == ("busy", "idle")
    assert (busy.limit[0], busy.limit[148], busy.limit[151]) == (10, 10, 20)
    assert set(idle.limit) == {10}
    assert (max(busy.in_flight), max(idle.in_flight)) == (2, 1)
    assert (idle.in_flight[14], idle.in_flight[200], idle.in_flight[290]) == (0, 1, 0)


def test_refusals_are_no_other_failures() -> None:
    """A 429 is the provider's pace, a 500 its trouble."""
    course = Course()
    for second, status in enumerate((429, 200, 500, 429)):
        course.add(attempt(second, 0.5, status=status))

    found = timeline(course, WorkingTime([session(1, 0, 30)], {}))

    assert (sum(found.refused), sum(found.failed)) == (2, 1)
    assert found.refused[5] == 1
    assert len(found.x) == STEPS


def test_nothing_has_a_course_too() -> None:
    """A run that ended before its first request."""
    found = timeline(Course(), WorkingTime([], {}))

    assert (found.peak, found.lanes) == (0, [])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60), st.integers(1, 40))
def test_choosing_keeps_to_its_bound(documents: list[tuple[bool, int]], most: int) -> None:
    """In source order, no document twice, trouble up to half of the places."""
    candidates = [Candidate(place, trouble, seconds) for place, (trouble, seconds) in enumerate(documents)]

    chosen = choose(candidates, most)

    assert len(chosen) == min(most, len(candidates))
    assert [one.place for one in chosen] == sorted({one.place for one in chosen})
    bad = sum(trouble for trouble, _ in documents)
    assert sum(one.trouble for one in chosen) >= min(bad, most // 2)


def test_the_slowest_are_chosen_before_a_sample() -> None:
    """Half of the places are for trouble, a quarter for the slowest of what ended well."""
    candidates = [Candidate(place, trouble=place < 10, seconds=place % 37) for place in range(100)]

    chosen = {one.place for one in choose(candidates, 8)}

    assert {0, 1, 2, 3, 36, 73} <= chosen
    assert len(chosen) == 8


@given(st.lists(st.integers(0, 100), min_size=1))
def test_a_quantile_is_the_nearest_rank(values: list[int]) -> None:
    """The smallest value that at least so many are not above."""
    ordered = sorted(values)

    for part in (0.5, 0.95):
        expected = next(one for one in ordered if sum(other <= one for other in ordered) >= part * len(ordered) - 1e-9)
        assert quantile(ordered, part) == expected


def test_a_histogram_holds_what_is_beyond_its_ends() -> None:
    """A request of 3 ms, or of an hour, is not lost."""
    bars = histogram(array("d", [0.003, 0.003, 3600.0]))

    assert (len(bars), bars[0], bars[-1], sum(bars)) == (BARS, 1.0, 0.5, 1.5)
    assert histogram(array("d")) == ()
