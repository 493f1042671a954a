"""Do to a reply what a fault says."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, overload

from agent_pipeline.simulator.faults import (
    LatencyFault,
    PingFault,
    SlowDripFault,
    StatusFault,
    StrikingFault,
)
from agent_pipeline.simulator.wire import (
    BadRequestError,
    BodyStep,
    Ending,
    SimulatorReply,
    error_reply,
    plain_reply,
)

_PING: Final = b": ping\n\n"
_PING_TIMEOUT: Final = 86_400.0
"""Seconds after which even the comments end; the longest that anything in a faults file takes."""
_HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>\n"


def replacement(fault: StrikingFault) -> SimulatorReply | None:
    """Return the reply that stands in for the answer, None where the fault needs an answer to work on."""
    if isinstance(fault, StatusFault):
        return status_reply(fault)
    return _REPLACEMENTS.get(fault.kind)


def damaged(reply: SimulatorReply, fault: StrikingFault) -> SimulatorReply:
    """Return an answer with the fault done to it."""
    if isinstance(fault, SlowDripFault):
        return replace(reply, steps=_Drip(reply.body, fault.bytes, fault.delay))
    if isinstance(fault, LatencyFault):
        return replace(reply, delay=reply.delay + fault.delay)
    if isinstance(fault, PingFault):
        return _pinged(reply, fault)
    return _broken(reply, fault.kind)


def _broken(reply: SimulatorReply, kind: str) -> SimulatorReply:
    if kind == "truncate_stream":
        return replace(reply, steps=reply.steps[: max(1, len(reply.steps) // 2)])
    if kind == "malformed_json":
        return _malformed(reply)
    endings: dict[str, Ending] = {"reset_mid_body": "reset", "hang_mid_body": "hang"}
    return replace(reply, steps=_half(reply.steps), ending=endings[kind]) if kind in endings else reply


def status_reply(fault: StatusFault) -> SimulatorReply:
    """Return the error a status fault is."""
    after = fault.retry_after
    wait = () if after is None else (("retry-after", after if isinstance(after, str) else f"{after:.15g}"),)
    more = tuple((name.lower(), value) for name, value in fault.headers.items())
    message = fault.message or f"The simulator was told to answer with status {fault.status}."
    return error_reply(BadRequestError(message, status=fault.status, code=fault.code), wait + more)


_REPLACEMENTS = {
    "reset_before_body": SimulatorReply(None, ending="reset"),
    "hang": SimulatorReply(None, ending="hang"),
    "html_200": plain_reply(200, "text/html; charset=utf-8", _HTML),
    "empty_object": plain_reply(200, "application/json", b"{}"),
}


def _half(steps: Sequence[BodyStep]) -> tuple[BodyStep, ...]:
    """Return the first half of the bytes, at least one where there is one, never all."""
    room = max(1, sum(len(step.data) for step in steps) // 2)
    kept: list[BodyStep] = []
    for step in steps:
        if room <= 0:
            break
        kept.append(BodyStep(step.data[:room], step.delay))
        room -= len(step.data)
    return tuple(kept)


def _malformed(reply: SimulatorReply) -> SimulatorReply:
    """Break the JSON, and nothing but the JSON: length and framing stay right."""
    if reply.header("content-length") is not None:
        body = reply.body
        return plain_reply(200, "application/json", body[: len(body) // 2])
    middle = len(reply.steps) // 2
    step = reply.steps[middle]
    broken = replace(step, data=step.data.rstrip()[:-2] + b"\n\n")
    return replace(reply, steps=(*reply.steps[:middle], broken, *reply.steps[middle + 1 :]))


def _pinged(reply: SimulatorReply, fault: PingFault) -> SimulatorReply:
    """Put a comment before each event that still comes; where that is not all, nothing but comments follow."""
    ping = BodyStep(_PING, fault.delay)
    events = reply.steps[: fault.events]
    steps = tuple(step for event in events for step in (ping, event))
    if len(events) == len(reply.steps):
        return replace(reply, steps=steps)
    return replace(reply, steps=_Pings(steps, ping, math.ceil(_PING_TIMEOUT / fault.delay)), ending="hang")


class _LazySteps(Sequence[BodyStep]):
    """Steps made as they are asked for: all of them would be many objects."""

    __slots__ = ()

    @abstractmethod
    def _at(self, index: int) -> BodyStep: ...

    @overload
    def __getitem__(self, index: int) -> BodyStep: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[BodyStep]: ...

    def __getitem__(self, index: int | slice) -> BodyStep | Sequence[BodyStep]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index if index >= 0 else index + len(self)
        if not 0 <= at < len(self):
            raise IndexError(index)
        return self._at(at)


@dataclass(frozen=True, slots=True)
class _Drip(_LazySteps):
    """A body cut into small steps."""

    body: bytes
    size: int
    delay: float

    def __len__(self) -> int:
        return (len(self.body) + self.size - 1) // self.size

    def _at(self, index: int) -> BodyStep:
        return BodyStep(self.body[index * self.size : (index + 1) * self.size], self.delay)


@dataclass(frozen=True, slots=True)
class _Pings(_LazySteps):
    """Some steps, then one comment after the other."""

    steps: tuple[BodyStep, ...]
    ping: BodyStep
    pings: int

    def __len__(self) -> int:
        return len(self.steps) + self.pings

    def _at(self, index: int) -> BodyStep:
        return self.steps[index] if index < len(self.steps) else self.ping
