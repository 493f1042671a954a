"""The state of a run at one instant, for those who watch it: what no event tells, because it lasts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LaneState:
    """Requests to one provider and model.

    Attributes:
        in_flight: sent and not answered.
        limit: how many may be in flight.
        waiting: calls that wait for their turn.
        cooldown: seconds until the next may go, after a 429; 0 without a pause.
    """

    provider: str
    model: str
    in_flight: int
    limit: int
    waiting: int
    cooldown: float


@dataclass(frozen=True, slots=True)
class OldestCall:
    """The call that was asked for first of those under way; `seconds` ago, its waits included."""

    document_id: str | None
    stage: str | None
    seconds: float
    is_sent: bool


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What one process has under way.

    Attributes:
        lanes: in the order in which they were first asked.
        waiting: calls that wait before they are sent, by stage.
        oldest: None while no call is under way.
    """

    lanes: tuple[LaneState, ...] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    oldest: OldestCall | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """One unit of the run's budget: tokens or micro-dollars.

    Attributes:
        charged: by all sessions.
        reserved: held for what is in flight.
        cap: None without one.
    """

    charged: int
    reserved: int
    cap: int | None


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one instant.

    Attributes:
        lanes: in the order in which they were first asked.
        waiting: calls that wait before they are sent, by stage.
        oldest: None while no call is under way.
        unknown_cost: whether `micro_usd` leaves something out that has no known price.
        kept: documents that an earlier session finished.
    """

    lanes: tuple[LaneState, ...]
    waiting: Mapping[str, int]
    oldest: OldestCall | None
    tokens: Spent
    micro_usd: Spent
    unknown_cost: bool
    kept: int
