"""Workers that only pretend to work: they ask nobody, and say what real ones would."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import trio
from tests.engines.bank import SENT
from tests.engines.in_process import WorkerSide
from tests.engines.plans import plan_with

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import DocumentStarted
from agent_pipeline.domain.snapshot import LaneState, OldestCall, UnderWay
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import (
    Alive,
    Attempted,
    Began,
    Cancel,
    DocumentsInFlight,
    Done,
    Ended,
    Fence,
    Finish,
    Happened,
    Hungry,
    Ready,
    Resulted,
    ShardDocument,
    StopTaking,
    Take,
    WorkerPlan,
)
from agent_pipeline.errors import AgentPipelineError

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)
STAGES = ("first", "second")
BEAT = Alive(UnderWay((LaneState("p", "m", 1, 10, 0, 0.0),), {"first": 2}, OldestCall("1", "first", 0.5, is_sent=True)))
TOKENS = 10
"""What each request of a pretended worker is charged; twice as many are reserved."""


def entry(position: int, **changes: Any) -> SourceEntry:  # noqa: ANN401
    """Return an entry of a source; its id is its position unless told otherwise."""
    document_id = str(changes.pop("id", position))
    changes.setdefault("document", Document(document_id, f"Text {position}.", source=f"in.md:{position}"))
    return SourceEntry(position, document_id, f"in.md:{position}", **changes)


def entries(count: int) -> list[SourceEntry]:
    """Return so many documents."""
    return [entry(position) for position in range(1, count + 1)]


PLAN = plan_with()


def record(attempt_id: str, document_id: str, stage: str) -> AttemptRecord:
    """Return the record of a request that is about to leave."""
    return replace(
        SENT,
        attempt_id=attempt_id,
        document_id=document_id,
        stage=stage,
        cycle=1,
        reserved_tokens=2 * TOKENS,
        charged_tokens=2 * TOKENS,
        cost_micro_usd=2 * TOKENS,
        started_at=AT,
        call_id=f"call-{attempt_id}",
    )


@dataclass
class Pretence:
    """What pretended workers do; a worker takes `seconds` for each of a document's two requests.

    Attributes:
        name: how ids of its requests begin.
        poison: documents whose worker is lost over them, in their second stage.
        instant: documents whose worker is lost before it can say that they began.
        error: what every document ends with, where there is one; `errors` those of single ones.
        never_ready: whether workers are lost as they start; `hangs` whether they hang there.
        gives_up_after: so many workers end at their first shard.
        last_error: what a worker ends with when it has had its first shard.
        makes_artifacts: whether documents that went well become files.
        plan_sha256: what they say they would make of documents; `fingerprints` likewise, stage by stage.
        calls: requests made, by document and stage.
        too_late: documents asked about after their end was on record.
        in_flight: documents under way, by worker.
        most: documents under way at once in one worker.
    """

    name: str = ""
    seconds: Callable[[str], float] = lambda _: 1.0
    poison: frozenset[str] = frozenset()
    instant: frozenset[str] = frozenset()
    error: AgentPipelineError | None = None
    errors: dict[str, AgentPipelineError] = field(default_factory=dict)
    never_ready: bool = False
    hangs: bool = False
    gives_up_after: int = 0
    last_error: AgentPipelineError | None = None
    makes_artifacts: bool = True
    plan_sha256: str | None = PLAN.plan_sha256
    fingerprints: dict[str, str] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    too_late: list[str] = field(default_factory=list)
    in_flight: dict[int, set[str]] = field(default_factory=dict)
    most: int = 0
    ended: Callable[[str], bool] = lambda _: False

    async def main(self, plan: WorkerPlan, link: WorkerEnd) -> None:
        """Be a `WorkerMain`."""
        side = cast("WorkerSide", link)
        if self.never_ready:
            await side.process.die()
        if self.hangs:
            await trio.sleep_forever()
        link.report(Ready(plan.version, self.plan_sha256, 1, "here", self.fingerprints))
        link.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_beat, link)
            await _Pretended(self, plan, side).work()
            nursery.cancel_scope.cancel()
        link.report(Done(None if self.last_error is None else ErrorRecord.of(self.last_error)))


async def _beat(link: WorkerEnd) -> None:
    while True:
        link.report(BEAT)
        await trio.sleep(1)


class _Pretended:
    """One pretended worker."""

    def __init__(self, pretence: Pretence, plan: WorkerPlan, side: WorkerSide) -> None:
        self._pretence = pretence
        self._number = plan.worker
        self._side = side
        self._places = trio.CapacityLimiter(plan.concurrency)
        self._waiting: list[tuple[Fence, ShardDocument]] = []
        self._is_hungry = False
        self._may_begin = True
        self._attempts = 0
        self._scope = trio.CancelScope()
        self._in_flight = pretence.in_flight.setdefault(plan.worker, set())

    async def work(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._ask()
                while True:
                    match await self._side.receive():
                        case Take(shard):
                            self._is_hungry = False
                            if self._pretence.last_error is not None or self._number <= self._pretence.gives_up_after:
                                return
                            self._waiting += [(shard.fence, one) for one in shard.documents]
                            for _ in shard.documents:
                                nursery.start_soon(self._next)
                        case DocumentsInFlight(count):
                            self._places.total_tokens = count
                        case StopTaking() | Finish() as command:
                            self._may_begin = isinstance(command, Finish)
                            break
                        case Cancel():
                            self._scope.cancel()
                        case _:
                            pass
        await trio.lowlevel.checkpoint()

    def _ask(self) -> None:
        if not self._is_hungry and len(self._waiting) < self._places.total_tokens:
            self._is_hungry = True
            self._side.report(Hungry())
            self._side.flush()

    async def _next(self) -> None:
        async with self._places:
            if not self._may_begin:
                return
            fence, document = self._waiting.pop(0)
            self._ask()
            await self._document(fence, document)

    async def _document(self, fence: Fence, one: ShardDocument) -> None:
        document_id = one.entry.id
        if one.entry.document is None:
            unusable = one.entry.error
            outcome = "skipped" if unusable is None else "failed"
            ended = Ended(
                fence, one.entry.position, document_id, one.entry.source, "cancelled", None, None, Counter(), Counter()
            )
            told = None if unusable is None else ErrorRecord.of(unusable)
            self._side.report(
                replace(ended, outcome=cast("Any", outcome), error=told, unopened=True, skipped=one.entry.skipped)
            )
            return
        if document_id in self._pretence.instant:
            await self._side.process.die()
        begun = trio.current_time()
        self._side.report(Began(fence, document_id, one.entry.document.sha256(), "trace"))
        self._side.report(Happened(DocumentStarted(document_id, one.entry.position, one.entry.source, 1), AT))
        self._in_flight.add(document_id)
        self._pretence.most = max(self._pretence.most, len(self._in_flight))
        ended = Ended(
            fence,
            one.entry.position,
            document_id,
            one.entry.source,
            "cancelled",
            None,
            "second",
            Counter(first=1, second=1),
            Counter(),
        )
        try:
            for stage in STAGES:
                await self._stage(fence, one, stage)
            error = self._pretence.errors.get(document_id, self._pretence.error)
            if error is not None:
                outcome = "cancelled" if error.disposition == "fail_run" else "failed"
                ended = replace(ended, outcome=cast("Any", outcome), error=ErrorRecord.of(error))
            else:
                made = one.entry.document.with_text("done") if self._pretence.makes_artifacts else None
                ended = replace(ended, outcome="succeeded", document=made)
        finally:
            self._in_flight.discard(document_id)
            self._side.report(replace(ended, duration=trio.current_time() - begun))

    async def _stage(self, fence: Fence, one: ShardDocument, stage: str) -> None:
        document_id = one.entry.id
        key = ResultKey(stage, 1, hashlib.sha256(f"{document_id} {stage}".encode()).hexdigest())
        if key in one.results:
            return
        if self._pretence.ended(document_id):
            self._pretence.too_late.append(document_id)
        self._pretence.calls[document_id, stage] += 1
        self._attempts += 1
        first = record(f"{self._pretence.name}{self._number}-{self._attempts}", document_id, stage)
        self._side.report(Attempted(fence, first, AT, self._attempts))
        if stage == "second" and document_id in self._pretence.poison:
            await trio.sleep(0.3)  # so that its beginning is known
            await self._side.process.die()
        last = replace(first, outcome="succeeded", usage=Usage(TOKENS, 0), charged_tokens=TOKENS, cost_micro_usd=TOKENS)
        try:
            await trio.sleep(self._pretence.seconds(document_id))
        except trio.Cancelled:
            self._side.report(Attempted(fence, replace(last, outcome="cancelled", usage=None), AT))
            raise
        self._side.report(Attempted(fence, last, AT))
        self._side.report(Resulted(fence, StageResult(document_id, key, f'"{stage}"', AT, AT)))
