"""What documents asked for, taken down in a run without faults, so that others can ask for the same without a stage."""

from dataclasses import dataclass, field
from datetime import datetime

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import AttemptFinished, Event
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.failures import as_own_error, passing_part
from agent_pipeline.pipeline.stage import StageFunction
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest
from agent_pipeline.simulator.clock import trio_time

Pass = tuple[str, str, int]
"""Document, stage, cycle."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and when it was under way, on Trio's clock."""

    role: str
    path: str
    body: bytes
    begun: float
    ended: float


@dataclass(slots=True)
class Take:
    """What one pass through a stage asked for, and how it ended.

    Attributes:
        requests: in the order they ended in.
        approved: the stage's verdict, None where it gave none.
        error: what it raised, in words; None where it ended well.
    """

    requests: list[Request] = field(default_factory=list)
    approved: bool | None = None
    error: str | None = None

    def waves(self) -> list[list[Request]]:
        """Return the requests in groups that were under way together, one group after the other."""
        waves: list[list[Request]] = []
        until = float("-inf")
        for request in sorted(self.requests, key=lambda one: one.begun):
            if not waves or request.begun >= until:
                waves.append([])
            waves[-1].append(request)
            until = max(until, request.ended)
        return waves


class Takes(Simulator):
    """A simulator that takes down who asked for what; also a sink, from which it learns who it was.

    Attributes:
        passes: by document, stage and cycle.
    """

    name = "takes"

    def __init__(self, *, seed: int) -> None:
        # Without it, what is asked together would begin and end at one instant with what is asked next.
        super().__init__(seed=seed, faults=FaultPlan(latency=0.001))
        self.passes: dict[Pass, Take] = {}
        self._sent: dict[str | None, tuple[SimulatorRequest, float]] = {}

    def respond(self, request: SimulatorRequest) -> SimulatorReply:
        """Answer, and remember what was asked."""
        reply = super().respond(request)
        self._sent[reply.header("x-request-id")] = (request, trio_time())
        return reply

    def accepts(self, kind: type[Event]) -> bool:
        """Take ends of attempts only."""
        return kind is AttemptFinished

    def handle(self, event: Event, at: datetime) -> None:
        """Join an attempt with what was asked in it."""
        del at
        if not isinstance(event, AttemptFinished):
            return
        attempt = event.attempt
        sent = self._sent.pop(attempt.provider_request_id, None)
        if sent is None or attempt.document_id is None or attempt.stage is None:
            return
        request, begun = sent
        take = self._take((attempt.document_id, attempt.stage, attempt.cycle or 1))
        take.requests.append(Request(attempt.role, request.path, request.body, begun, trio_time()))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def taking_down(self, function: StageFunction) -> StageFunction:
        """Return the stage's function, which tells here how it ended."""

        async def observed(document: Document, context: StageContext) -> Document:
            take = self._take((document.id, context.stage, context.cycle))
            try:
                result = await function(document, context)
            except BaseException as exc:
                if passing_part(exc) is None:
                    take.error = _words(as_own_error(exc, context.stage))
                raise
            take.approved = None if context.verdict is None else context.verdict.approved
            return result

        return observed

    def _take(self, key: Pass) -> Take:
        return self.passes.setdefault(key, Take())


def _words(error: AgentPipelineError) -> str:
    return f"{error.code}: {error}"
