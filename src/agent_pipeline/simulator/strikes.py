"""Which fault strikes a request: what each fault of the plan has seen, and its limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent_pipeline.simulator.apis import APIS
from agent_pipeline.simulator.conversation import Ask
from agent_pipeline.simulator.damage import replacement
from agent_pipeline.simulator.faults import (
    BrokenReplyFault,
    CapacityFault,
    Fault,
    LimitFault,
    PingFault,
    RateLimitFault,
    StatusFault,
    StrikingFault,
)
from agent_pipeline.simulator.identity import Identity
from agent_pipeline.simulator.limits import Arrival, ModelLimit, limits_of
from agent_pipeline.simulator.wire import Headers, SimulatorReply, SimulatorRequest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to happen to one request.

    Attributes:
        fault: the one that strikes, None where nothing does.
        instead: the reply that stands in for the answer, None where there is to be one.
        limits: those that count the request as passed.
        told: those that replies tell about.
    """

    fault: Fault | None = None
    instead: SimulatorReply | None = None
    limits: tuple[ModelLimit, ...] = ()
    told: tuple[ModelLimit, ...] = ()

    def damages(self) -> StrikingFault | None:
        """Return the fault that is to be done to the answer."""
        return None if isinstance(self.fault, RateLimitFault | CapacityFault) else self.fault

    def answered(self, arrival: Arrival, output_tokens: int) -> None:
        """Let the limits count what the answer adds."""
        for limit in self.limits:
            limit.answered(arrival, output_tokens)

    def replied(self, arrival: Arrival, reply: SimulatorReply) -> None:
        """Tell the limits how long the reply takes."""
        for limit in self.limits:
            limit.replied(arrival, reply)

    def headers(self, arrival: Arrival) -> Headers:
        """Return what the limits say; of two that limit the same thing, the first in the plan speaks."""
        found: dict[str, str] = {}
        for limit in self.told:
            for name, value in limit.headers(arrival):
                found.setdefault(name, value)
        return tuple(found.items())


class Strikes:
    """The faults of a plan, and how far each of them is."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults
        self._matched = [0] * len(faults)
        self._limits = {index: limits_of(fault) for index, fault in enumerate(faults) if isinstance(fault, LimitFault)}

    def judge(self, request: SimulatorRequest, path: str, identity: Identity, arrival: Arrival | None) -> Verdict:
        """Return what happens to a request, by the first fault that strikes.

        Every fault that is meant for it counts it, so that scripts keep in step. Only what no limit refuses counts
        for the limits, and only what was understood (`arrival`) is held against them.
        """
        ask = None if arrival is None else arrival.ask
        struck: Verdict | None = None
        met: list[tuple[ModelLimit, SimulatorReply | None]] = []
        for index, fault in enumerate(self._faults):
            if not _is_meant(fault, path, request, ask):
                continue
            self._matched[index] += 1
            if isinstance(fault, LimitFault):
                if arrival is not None:
                    limit = self._limits[index].of(arrival.ask.model)
                    met.append((limit, limit.refusal(arrival)))
                    if met[-1][1] is not None and struck is None:
                        struck = Verdict(fault, met[-1][1])
            elif struck is None and self._strikes(index, fault, identity):
                struck = Verdict(fault, replacement(fault))
        return _with_limits(struck or Verdict(), arrival, met)

    def status_of_line(self, request: SimulatorRequest, identity: Identity, ask: Ask | None) -> StatusFault | None:
        """Return the status that one line of a batch gets in the place of an answer: no other fault is meant there."""
        struck: StatusFault | None = None
        for index, fault in enumerate(self._faults):
            if isinstance(fault, StatusFault) and _is_meant(fault, request.path, request, ask):
                self._matched[index] += 1
                if struck is None and self._strikes(index, fault, identity):
                    struck = fault
        return struck

    def _strikes(self, index: int, fault: StrikingFault, identity: Identity) -> bool:
        if fault.script is not None:
            return self._matched[index] in fault.script
        return fault.rate is None or identity.chance("fault", index) < fault.rate


def _with_limits(
    verdict: Verdict, arrival: Arrival | None, met: Sequence[tuple[ModelLimit, SimulatorReply | None]]
) -> Verdict:
    told = tuple(limit for limit, _ in met)
    is_refused = isinstance(verdict.fault, LimitFault)
    passed = tuple(limit for limit, refusal in met if refusal is None and not is_refused)
    if arrival is not None:
        for limit in passed:
            limit.take(arrival)
    return Verdict(verdict.fault, verdict.instead, passed, told)


def _is_meant(fault: Fault, path: str, request: SimulatorRequest, ask: Ask | None) -> bool:
    match = fault.match
    if _needs_stream(fault) and not (ask and ask.stream):
        return False
    if match.path is not None and match.path != path:
        return False
    if match.model is not None and (ask is None or match.model != ask.model):
        return False
    if match.contains is None:
        return True
    if ask is None:
        return path in APIS and match.contains.encode() in request.body
    return ask.says(match.contains)


def _needs_stream(fault: Fault) -> bool:
    return isinstance(fault, PingFault) or (isinstance(fault, BrokenReplyFault) and fault.kind == "truncate_stream")
