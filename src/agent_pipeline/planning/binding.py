"""How long a run takes by its limits, which of them sets the pace, and which would end it before its time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.planning.estimate import StageEstimate
from agent_pipeline.planning.needs import Need
from agent_pipeline.planning.sizes import Sizes

USUAL_LATENCY = 5.0
"""Seconds of an answer, where no earlier run with a real provider says better."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A limit, and how many documents an hour it lets through."""

    limit: str
    documents_per_hour: float


@dataclass(frozen=True, slots=True)
class Ending:
    """A limit that ends a run early, and after about how many documents."""

    limit: str
    document: int


@dataclass(frozen=True, slots=True)
class Binding:
    """What the limits make of a run.

    Attributes:
        latency: seconds of an answer that are reckoned with.
        paces: the strictest first.
        endings: likewise; empty where the run gets to its end.
        expected_seconds: without the endings; None where too much is unknown.
    """

    latency: float
    paces: tuple[Pace, ...]
    endings: tuple[Ending, ...]
    expected_seconds: float | None


@dataclass(slots=True)
class _Lane:
    calls: float = 0.0
    tokens: float = 0.0
    worst: float = 0.0


def bind(
    needs: Sequence[Need],
    estimates: Sequence[StageEstimate],
    sizes: Sizes,
    limits: LimitsConfig,
    *,
    in_flight: int,
    latency: float,
    tokens_left: int | None,
    micro_usd_left: int | None,
) -> Binding:
    """Say what the limits make of a run.

    Args:
        needs: of each stage.
        estimates: likewise.
        sizes: of the documents that need work.
        limits: of the run.
        in_flight: documents at once that this process can have.
        latency: seconds of an answer.
        tokens_left: of the budget; None for no budget.
        micro_usd_left: likewise.
    """
    if not sizes.count:
        return Binding(latency, (), (), 0.0)
    lanes = _lanes(needs, estimates, sizes)
    paces = sorted(
        _paces(lanes, limits, in_flight if sizes.count > in_flight else None, latency),
        key=lambda one: one.documents_per_hour,
    )
    in_a_row = sum(lane.calls for lane in lanes.values()) * latency
    seconds = sizes.count / paces[0].documents_per_hour * 3600 + in_a_row if paces else None
    endings = list(_budget_endings(estimates, lanes, sizes.count, tokens_left, micro_usd_left))
    run = limits.timeouts.run
    if run is not None and seconds is not None and seconds > run:
        endings.append(Ending("timeouts.run", max(0, int((run - in_a_row) * paces[0].documents_per_hour / 3600))))
    return Binding(latency, tuple(paces), tuple(sorted(endings, key=lambda one: one.document)), seconds)


def _lanes(needs: Sequence[Need], estimates: Sequence[StageEstimate], sizes: Sizes) -> dict[tuple[str, str], _Lane]:
    """Return what a document needs of each provider and model, on average."""
    lanes: dict[tuple[str, str], _Lane] = {}
    for need, stage in zip(needs, estimates, strict=True):
        asked = need.chains[0][0] if need.chains else None
        lane = lanes.setdefault(("", "") if asked is None else (asked.provider, asked.model), _Lane())
        calls = (stage.attempts.expected or 0) / sizes.count
        lane.calls += calls
        lane.tokens += (stage.tokens.expected or 0) / sizes.count
        lane.worst += calls * stage.worst_request
    return {key: lane for key, lane in lanes.items() if lane.calls}


def _paces(
    lanes: dict[tuple[str, str], _Lane], limits: LimitsConfig, in_flight: int | None, latency: float
) -> Iterator[Pace]:
    all_calls = sum(lane.calls for lane in lanes.values())
    if not all_calls:
        return
    if in_flight is not None:  # else all documents go at once
        yield Pace("documents_in_flight", 3600 * in_flight / (all_calls * latency))
    paces = {
        "requests_in_flight": [limits.requests_in_flight.max / (lane.calls * latency) for lane in lanes.values()],
        "requests_per_minute": [
            (limits.requests_per_minute or inf) / (60 + latency) / lane.calls for lane in lanes.values()
        ],
        # What has ended counts for a minute as what it was, what is under way as what it may come to.
        "tokens_per_minute": [
            (limits.tokens_per_minute or inf) / (60 * lane.tokens + latency * lane.worst) for lane in lanes.values()
        ],
    }
    for name, rates in paces.items():
        if min(rates) != inf:
            yield Pace(name, 3600 * min(rates))


def _budget_endings(
    estimates: Sequence[StageEstimate],
    lanes: dict[tuple[str, str], _Lane],
    count: int,
    tokens_left: int | None,
    micro_usd_left: int | None,
) -> Iterator[Ending]:
    """Yield the budgets that all documents together would pass; the last request's worst case has to fit as well."""
    tokens = sum(stage.tokens.expected or 0 for stage in estimates) / count
    worst = max((lane.worst / lane.calls for lane in lanes.values()), default=0.0)
    if tokens_left is not None and tokens and tokens * count + worst > tokens_left:
        yield Ending("budget.tokens", max(0, int((tokens_left - worst) / tokens)))
    money = sum(stage.micro_usd.expected or 0 for stage in estimates) / count
    if micro_usd_left is not None and money and money * count > micro_usd_left:
        yield Ending("budget.usd", max(0, int(micro_usd_left / money)))
