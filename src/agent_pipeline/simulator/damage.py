"""Do to a reply what a fault says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

from agent_pipeline.simulator.faults import BrokenReplyFault, Fault, LatencyFault, SlowDripFault, StatusFault
from agent_pipeline.simulator.wire import (
    BadRequestError,
    BodyStep,
    Ending,
    SimulatorReply,
    error_reply,
    plain_reply,
)

_HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>\n"


def replacement(fault: Fault) -> SimulatorReply | None:
    """Return the reply that stands in for the answer, None where the fault needs an answer to work on."""
    if isinstance(fault, StatusFault):
        return _status_reply(fault)
    return _REPLACEMENTS.get(fault.kind)


def damaged(reply: SimulatorReply, fault: Fault) -> SimulatorReply:
    """Return an answer with the fault done to it."""
    if isinstance(fault, SlowDripFault):
        return replace(reply, steps=_Drip(reply.body, fault.bytes, fault.delay))
    if isinstance(fault, LatencyFault):
        return replace(reply, delay=reply.delay + fault.delay)
    if isinstance(fault, BrokenReplyFault) and fault.kind == "truncate_stream":
        return replace(reply, steps=reply.steps[: max(1, len(reply.steps) // 2)])
    if isinstance(fault, BrokenReplyFault) and fault.kind == "malformed_json":
        return _malformed(reply)
    endings: dict[str, Ending] = {"reset_mid_body": "reset", "hang_mid_body": "hang"}
    if fault.kind in endings:
        return replace(reply, steps=_half(reply.steps), ending=endings[fault.kind])
    return reply


def _status_reply(fault: StatusFault) -> SimulatorReply:
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


@dataclass(frozen=True, slots=True)
class _Drip(Sequence[BodyStep]):
    """A body cut into small steps as they are asked for: a long one would be many objects."""

    body: bytes
    size: int
    delay: float

    def __len__(self) -> int:
        return (len(self.body) + self.size - 1) // self.size

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
        return BodyStep(self.body[at * self.size : (at + 1) * self.size], self.delay)
