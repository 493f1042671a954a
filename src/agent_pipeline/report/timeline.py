"""The course of a run in a bounded number of steps: requests in flight, their limit, refusals, failures, spending."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.report.working_time import WorkingTime

MOST_LANES = 4
"""Lanes with lines of their own in the chart; more could not be told apart."""

STEPS = 300
"""More than a screen can tell apart; the page stays small however long the run was."""

Lane = tuple[str, str]
"""A provider and a model: what has a limit of its own."""


@dataclass(frozen=True, slots=True)
class LimitStep:
    """From `at` (seconds since the epoch) on, so many requests may be in flight in a lane."""

    at: float
    lane: Lane
    limit: int


@dataclass(slots=True)
class Course:
    """What a timeline is made of; 42 bytes for each request."""

    starts: "array[float]" = field(default_factory=lambda: array("d"))
    ends: "array[float]" = field(default_factory=lambda: array("d"))
    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    micro_usd: "array[int]" = field(default_factory=lambda: array("q"))
    kinds: "array[int]" = field(default_factory=lambda: array("b"))
    places: "array[int]" = field(default_factory=lambda: array("h"))
    lanes: dict[Lane, int] = field(default_factory=dict)
    steps: list[LimitStep] = field(default_factory=list)
    limits: dict[Lane, int] = field(default_factory=dict)
    documents: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, attempt: AttemptRecord) -> None:
        """Take one request."""
        start = attempt.started_at.timestamp()
        self.starts.append(start)
        self.ends.append(start + attempt.latency_seconds)
        self.tokens.append(attempt.charged_tokens)
        self.micro_usd.append(attempt.cost_micro_usd or 0)
        refused = attempt.status_code == 429
        self.kinds.append(1 if refused else 2 if attempt.outcome == "failed" else 0)
        self.places.append(self.lanes.setdefault((attempt.provider, attempt.model), len(self.lanes)))


@dataclass(frozen=True, slots=True)
class LaneLine:
    """The most requests in flight to a provider and model in each step, and how many might be at its end."""

    name: str
    in_flight: list[int]
    limit: list[int | None]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The series of the charts; all have one value for each step.

    Attributes:
        x: seconds of work at the end of each step.
        lanes: the busiest providers and models.
        peak: the most requests in flight at one moment, over all of them.
        refused: answers with status 429 in each step; `failed` those that failed otherwise.
        tokens: charged up to the end of each step; likewise `usd`, of known price, and `documents` that ended.
        sessions: when each session after the first began, in seconds of work.
    """

    x: list[float]
    lanes: list[LaneLine]
    peak: int
    refused: list[int]
    failed: list[int]
    tokens: list[int]
    usd: list[float]
    documents: list[int]
    sessions: list[float]


def timeline(course: Course, time: WorkingTime) -> Timeline:
    """Return the course of a run in `STEPS` steps."""
    starts = [time.at(value) for value in course.starts]
    # An answer that came after its session's end (a virtual clock knows no wall time) counts where it would end.
    ends = [
        start + max(end - begun, 1e-6) for start, end, begun in zip(starts, course.ends, course.starts, strict=True)
    ]
    total = max([time.total, *ends])
    width = total / STEPS or 1.0
    places = [min(int(end / width), STEPS - 1) for end in ends]
    return Timeline(
        x=[round((step + 1) * width, 4) for step in range(STEPS)],
        lanes=[_lane(course, lane, (starts, ends), time, width) for lane in _busiest(course)],
        peak=max(_peaks(starts, ends, width)),
        refused=_counts(places, course.kinds, 1),
        failed=_counts(places, course.kinds, 2),
        tokens=_sums(places, course.tokens),
        usd=[round(value / 1e6, 6) for value in _sums(places, course.micro_usd)],
        documents=_ended(course, time, width),
        sessions=[round(value, 4) for value in time.beginnings],
    )


def _peaks(starts: Sequence[float], ends: Sequence[float], width: float) -> list[int]:
    """Return the most requests that were in flight at one moment of each step."""
    peaks, now, step = [0] * STEPS, 0, 0
    for at, change in sorted([*((end, -1) for end in ends), *((start, 1) for start in starts)]):
        reached = min(int(at / width), STEPS - 1)
        for passed in range(step + 1, reached + 1):
            peaks[passed] = now
        step, now = reached, now + change
        peaks[step] = max(peaks[step], now)
    return peaks


def _busiest(course: Course) -> list[Lane]:
    """Return the lanes with most requests, the busiest first."""
    counts = Counter(course.places)
    return sorted(course.lanes, key=lambda lane: -counts[course.lanes[lane]])[:MOST_LANES]


def _lane(
    course: Course, lane: Lane, spans: tuple[Sequence[float], Sequence[float]], time: WorkingTime, width: float
) -> LaneLine:
    number = course.lanes[lane]
    own = [place for place, other in enumerate(course.places) if other == number]
    in_flight = _peaks([spans[0][place] for place in own], [spans[1][place] for place in own], width)
    several = len({provider for provider, _ in course.lanes}) > 1
    return LaneLine(" ".join(lane) if several else lane[1], in_flight, _limits(course, lane, time, width))


def _limits(course: Course, lane: Lane, time: WorkingTime, width: float) -> list[int | None]:
    """Return how many requests might be in flight in a lane at the end of each step."""
    if lane not in course.limits:
        return [None] * STEPS
    limit = course.limits[lane]
    steps = _in_order([step for step in course.steps if step.lane == lane], time)
    following = next(steps, None)
    found: list[int | None] = []
    for step in range(STEPS):
        while following is not None and following[0] <= (step + 1) * width:
            limit = following[1].limit
            following = next(steps, None)
        found.append(limit)
    return found


def _in_order(steps: Sequence[LimitStep], time: WorkingTime) -> Iterator[tuple[float, LimitStep]]:
    yield from ((time.at(step.at), step) for step in sorted(steps, key=lambda one: one.at))


def _counts(places: Sequence[int], kinds: Sequence[int], wanted: int) -> list[int]:
    found = [0] * STEPS
    for place, kind in zip(places, kinds, strict=True):
        found[place] += kind == wanted
    return found


def _sums(places: Sequence[int], values: Sequence[int]) -> list[int]:
    """Return the sum of all values up to the end of each step."""
    found = [0] * STEPS
    for place, value in zip(places, values, strict=True):
        found[place] += value
    return list(accumulate(found, add))


def _ended(course: Course, time: WorkingTime, width: float) -> list[int]:
    places = [min(int(time.at(value) / width), STEPS - 1) for value in course.documents]
    return _sums(places, [1] * len(places))
