"""What driver and worker tell each other of budgets and of limits per minute."""

from dataclasses import dataclass, field

from agent_pipeline.control.budget import Caps

RUN = ""
"""The owner of the run's own budget; those of roles are owned by `role:NAME`."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens and micro-dollars."""

    tokens: int = 0
    micro_usd: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.micro_usd + other.micro_usd)


@dataclass(frozen=True, slots=True)
class Left:
    """What there is of a budget in one dimension, `tokens` or `usd`: its total, and what of it may still be had."""

    dimension: str
    total: int
    amount: int


# --- driver to worker ---


@dataclass(frozen=True, slots=True)
class Grant:
    """So much more of an owner's budget is yours.

    Without an id it answers nothing: the budget's caps have changed, so ask again; it is leased from now on.

    Attributes:
        is_last: a request as large as the one that needed it can't fit any more, whatever others give back.
        left: where it is the last: the dimensions that are too small, as the whole run's budget has them.
        window: how much may have left, from now on, of which the driver did not say that it was heard; None is all.
    """

    lease_id: str
    owner: str
    amount: Amount
    is_last: bool = False
    left: tuple[Left, ...] = ()
    window: Caps = field(default_factory=Caps)


@dataclass(frozen=True, slots=True)
class Heard:
    """So many reports of attempts, leaving and ending, were heard of you so far: the first ones that you made."""

    attempts: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Others wait for room: give back what you hold of this owner's budget and no request of yours needs now."""

    owner: str


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests and tokens per minute of this provider and model are limited, and leased from now on; None is not.

    Without provider and model it concerns all of them: a configured limit has changed.
    """

    provider: str
    model: str
    requests_per_minute: int | None
    tokens_per_minute: int | None


@dataclass(frozen=True, slots=True)
class RateGrant:
    """So many requests, with so many tokens, may go to a model within the next `seconds`; the rest is given back.

    With no request: none may for so many seconds at least; the answer is still to come.
    """

    lease_id: str
    provider: str
    model: str
    requests: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A provider asked somebody else to wait: nothing goes to this model for so many seconds."""

    provider: str
    model: str
    seconds: float


# --- worker to driver ---


@dataclass(frozen=True, slots=True)
class LeaseWanted:
    """A request needs `need` more of an owner's budget; `want` would be better. Asked again it has the same id.

    Attributes:
        need: what the first of those who wait lacks; asked again, what it lacks by then.
        want: what would keep the worker busy for a while.
        worst_case: of that first one's request, all of it, by which it is judged whether it can ever fit; nothing,
            where one asks ahead and nobody waits.
        largest: of any request since the question before: no window is to be smaller.
    """

    lease_id: str
    owner: str
    need: Amount
    want: Amount
    worst_case: Amount = field(default_factory=Amount)
    largest: Amount = field(default_factory=Amount)


@dataclass(frozen=True, slots=True)
class HeardWanted:
    """Say what was heard of this worker's attempts: what has left unheard nearly fills a window."""


@dataclass(frozen=True, slots=True)
class LeaseReturned:
    """So much of an owner's budget is given back unused."""

    owner: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class RateWanted:
    """Requests wait for a model's limits per minute: so many, of so many tokens together at worst.

    `first_tokens` are those of the one that is next, without which a grant would be of no use.
    """

    lease_id: str
    provider: str
    model: str
    requests: int
    tokens: int
    first_tokens: int


@dataclass(frozen=True, slots=True)
class RateUsed:
    """Of what was granted for a model, these requests were sent and have ended, with what they really took.

    `returned_requests` and `returned_tokens` were not used in time.
    """

    provider: str
    model: str
    requests: int
    reserved_tokens: int
    tokens: int
    returned_requests: int = 0
    returned_tokens: int = 0


@dataclass(frozen=True, slots=True)
class RateTaken:
    """What went to a model before its limits were leased: in flight, and ended within the last minute."""

    provider: str
    model: str
    open_requests: int
    open_tokens: int
    ended_requests: int
    ended_tokens: int


@dataclass(frozen=True, slots=True)
class LimitsAnnounced:
    """A provider's answer says what its limits per minute are, or that nothing goes for `pause` seconds."""

    provider: str
    model: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Paused:
    """A provider refused a request for its limits: nothing goes to this model for so many seconds."""

    provider: str
    model: str
    seconds: float
