"""What goes wrong in a world: the provider's faults, and what breaks into the run from outside."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.failpoints import FailpointName
from agent_pipeline.simulator import FaultPlan

MOST_INTERRUPTIONS = 3

Kind = Literal["crash", "cancel", "stop"]
Clock = FailpointName | Literal["step"]

_KINDS: tuple[Kind, ...] = ("crash", "cancel", "stop")
_POINTS: tuple[FailpointName, ...] = get_args(FailpointName)


@dataclass(frozen=True, slots=True)
class Interruption:
    """What breaks into one session of a run, and when.

    Attributes:
        kind: `crash` leaves only the files, `cancel` is the program around the run, `stop` is a polite signal.
        clock: what is counted: steps of Trio's scheduler, or how often a failpoint, which lies between two changes on
            disk, is reached.
        moment: at which count; a session that ends before it is not interrupted.
        torn: the part of the last line of each log that is on disk after a crash, 1.0 for all of it.
        again: seconds after which a stop is followed by an impatient one; None for never.
    """

    kind: Kind
    clock: Clock
    moment: int
    torn: float = 1.0
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Troubles:
    """All that goes wrong in one world, beside its limits."""

    faults: FaultPlan
    interruptions: tuple[Interruption, ...]


def draw_troubles(rng: random.Random) -> Troubles:
    """Draw faults of the provider, and up to three interruptions in a row."""
    faults = FaultPlan.from_mapping(
        {
            "seed": rng.getrandbits(32),
            "latency": {"min": 0.0, "max": round(rng.uniform(0, 4), 3)},
            "chunk_delay": rng.choice((0.0, 0.0, 0.01)),
            "faults": [_draw_fault(rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))],
        }
    )
    count = rng.choice((0, 1, 1, 2, MOST_INTERRUPTIONS))
    return Troubles(faults, tuple(_draw_interruption(rng) for _ in range(count)))


def _draw_interruption(rng: random.Random) -> Interruption:
    kind = rng.choices(_KINDS, (6, 2, 2))[0]
    # A row on disk is a promise, and there are many kinds of rows: the instant after a commit tells most.
    clocks: tuple[Clock, ...] = ("step", "ledger.after_commit", rng.choice(_POINTS))
    clock = rng.choices(clocks, (3, 4, 3))[0]
    # Opening and closing take as many steps as the work on a document: small counts are as likely as large ones.
    longest = 2.9 if clock == "step" else 2.0 if clock.startswith("ledger.") else 1.0
    moment = int(10 ** rng.uniform(0, longest))
    if clock == "ledger.after_commit":  # as many as a session of a few documents makes, one as likely as the other
        moment = rng.randint(1, 40)
    torn = rng.random() if rng.random() < 0.5 else 1.0
    again = rng.uniform(0, 15) if rng.random() < 0.4 else None
    return Interruption(kind, clock, moment, torn, again)


def _draw_fault(rng: random.Random) -> dict[str, JsonValue]:
    kind = rng.choices(tuple(_FAULTS), tuple(weight for weight, _ in _FAULTS.values()))[0]
    fault: dict[str, JsonValue] = {"kind": kind, **_FAULTS[kind][1](rng)}
    if rng.random() < 0.7:
        return {**fault, "rate": round(rng.uniform(0.02, 0.5), 3)}
    numbers = sorted(rng.sample(range(1, 31), rng.randint(1, 4)))
    return {**fault, "script": [*numbers]}


def _status(rng: random.Random) -> dict[str, JsonValue]:
    status = rng.choices((429, 500, 503, 504, 408, 400, 404, 401, 402), (10, 4, 4, 2, 2, 2, 1, 1, 1))[0]
    if status in {429, 503} and rng.random() < 0.5:
        return {"status": status, "retry_after": round(rng.uniform(0, 30), 2)}
    return {"status": status}


def _nothing(_: random.Random) -> dict[str, JsonValue]:
    return {}


_FAULTS: Mapping[str, tuple[int, Callable[[random.Random], dict[str, JsonValue]]]] = {
    "status": (12, _status),
    "latency": (3, lambda rng: {"delay": round(rng.uniform(1, 60), 2)}),
    "slow_drip": (2, lambda rng: {"bytes": rng.randint(50, 500), "delay": round(rng.uniform(0.05, 3), 2)}),
    "reset_before_body": (3, _nothing),
    "reset_mid_body": (3, _nothing),
    "truncate_stream": (2, _nothing),
    "malformed_json": (2, _nothing),
    "html_200": (1, _nothing),
    "empty_object": (1, _nothing),
    "hang": (2, _nothing),
    "hang_mid_body": (2, _nothing),
}
"""Weight of each kind of fault, and how its details are drawn."""
