"""A run over workers in memory and virtual time: the real driver, ledger and artifacts; workers that only pretend."""

import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import trio
from tests.engines.in_process import InProcess, InProcessWorker
from tests.engines.pretended import AT, PLAN, Pretence

from agent_pipeline.control.counts import Counts
from agent_pipeline.documents import ArtifactWriter, RejectedTexts
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.events import DocumentFinished, DocumentStarted, Event
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.driver.attendant import Patience
from agent_pipeline.engines.driver.driver import Driver
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.driver.shards import ShardBook
from agent_pipeline.engines.leases.lessor import Tell
from agent_pipeline.engines.messages import (
    Amount,
    LeaseReport,
    WorkerPlan,
)
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.ledger import Ledger, open_ledger
from agent_pipeline.ledger.schema import connect
from agent_pipeline.pipeline.admission import Stop, Tally
from agent_pipeline.pipeline.document_records import LedgerRecords

EventT = TypeVar("EventT", bound=Event)


class Lending:
    """A lessor that only keeps what it is told."""

    def __init__(self) -> None:
        self.joined: list[int] = []
        self.revoked: list[int] = []
        self.taken: list[LeaseReport] = []
        self.charged = 0
        self.open: dict[str, int] = {}
        self.tell: Tell | None = None

    def __call__(self, tell: Tell) -> "Lending":
        """Be the way to make itself."""
        self.tell = tell
        return self

    async def run(self) -> None:
        """As `Lessor` says."""
        await trio.sleep_forever()

    def join(self, worker: int) -> None:
        """As `Lessor` says."""
        self.joined.append(worker)

    def take(self, worker: int, report: LeaseReport) -> None:
        """As `Lessor` says."""
        assert worker not in self.revoked
        self.taken.append(report)

    def spent(self, worker: int, attempt: AttemptRecord) -> None:
        """As `Lessor` says."""
        assert worker not in self.revoked
        if attempt.outcome is None:
            self.open[attempt.attempt_id] = attempt.charged_tokens
        else:
            self.open.pop(attempt.attempt_id, None)
            self.charged += attempt.charged_tokens

    def revoke(self, worker: int) -> Mapping[str, Amount]:
        """As `Lessor` says."""
        self.revoked.append(worker)
        return {}

    def dismiss(self, worker: int) -> None:
        """As `Lessor` says."""
        self.revoked.append(worker)


@dataclass
class Run:
    """One run over workers: start it with `documents`, then look at what it left."""

    path: Path
    ledger: Ledger
    records: LedgerRecords
    stop: Stop
    pretence: Pretence
    process: InProcess
    lending: Lending = field(default_factory=Lending)
    tally: Tally = field(default_factory=Tally)
    counts: Counts = field(default_factory=Counts)
    events: list[tuple[Event, datetime | None]] = field(default_factory=list)
    attempted_at: list[datetime | None] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    pulled: int = 0
    intake_kind: type[Intake] = Intake
    plan: WorkerPlan = PLAN

    def driver(self, *, workers: int = 3, concurrency: int = 10, **settings: Any) -> Driver:  # noqa: ANN401
        """Make the driver of this run."""
        settings.setdefault("shard_size", 20)
        settings.setdefault("open_worker", self.process.open)
        plan = replace(self.plan, concurrency=concurrency)
        self.intake = self.intake_kind(
            self.records,
            ShardBook(),
            tally=self.tally,
            stop=self.stop,
            record=self._record,
            counts=self.counts,
            tell=self.tell,
            plan_sha256=plan.plan_sha256,
        )
        return Driver(
            plan=plan,
            workers=workers,
            intake=self.intake,
            stop=self.stop,
            emit=self.emit,
            lend=self.lending,
            patience=Patience(start=10, silence=5, last_words=5, kill=5),
            **settings,
        )

    async def documents(
        self,
        source: Iterable[SourceEntry] | AsyncGenerator[SourceEntry],
        driver: Driver | None = None,
        *,
        beside: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Do with a source what a run does; `beside` is done meanwhile."""
        driver = driver or self.driver()
        if beside is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(beside)
                await self.documents(source, driver)
            return
        with self.stop.scope:
            try:
                await driver.admit(source if isinstance(source, AsyncGenerator) else self._pull(source))
            except AgentPipelineError as exc:
                self.stop.request(exc.code, str(exc), cancel=False, error=exc)

    async def _pull(self, source: Iterable[SourceEntry]) -> AsyncGenerator[SourceEntry]:
        for one in source:
            await trio.lowlevel.checkpoint()
            self.pulled += 1
            yield one

    def crash_after(self, seconds: float) -> Callable[[], Awaitable[None]]:
        """Return what crashes the first worker so many seconds later."""

        async def crash() -> None:
            await trio.sleep(seconds)
            self.worker(1).crash()

        return crash

    def emit(self, event: Event) -> None:
        """Take an event that happens now."""
        self.tell(event, None)

    def tell(self, event: Event, at: datetime | None) -> None:
        """Take an event."""
        self.events.append((event, at))
        if isinstance(event, DocumentFinished):
            self.finished.add(event.document_id)

    def _record(self, attempt: AttemptRecord, at: datetime | None) -> None:
        self.ledger.record_attempt(attempt)
        self.attempted_at.append(at)

    def named(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind."""
        return [event for event, _ in self.events if isinstance(event, kind)]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the ledger's file."""
        with closing(sqlite3.connect(self.path / "ledger.sqlite3")) as connection:
            return connection.execute(sql).fetchall()

    def outcomes(self) -> dict[str, tuple[str | None, str | None]]:
        """Outcome and error code by document."""
        rows = self.rows("select document_id, outcome, error_code from documents order by position")
        return {document: (outcome, code) for document, outcome, code in rows}

    @property
    def artifacts(self) -> list[str]:
        """Names of files, in the order of numbers, without temporary ones."""
        return sorted(
            (path.name for path in (self.path / "artifacts").glob("[!.]*")), key=lambda name: (len(name), name)
        )

    def worker(self, number: int) -> InProcessWorker:
        """Return a worker by its number."""
        return next(one for one in self.process.workers if one.plan.worker == number)

    def assert_accounted(self) -> None:
        """Each document that began has one row, one end and one event of either; nothing is left of workers."""
        rows = self.rows("select document_id, outcome from documents")
        assert None not in {outcome for _, outcome in rows}
        counts = self.tally.counts()
        assert len(rows) == counts.total == counts.succeeded + counts.failed + counts.skipped + counts.cancelled
        finished = Counter(event.document_id for event in self.named(DocumentFinished))
        assert finished == Counter({document_id: 1 for document_id, _ in rows})
        started = Counter(event.document_id for event in self.named(DocumentStarted))
        assert set(started.values()) <= {1}
        assert self.process.alive == []
        assert not self.rows("select attempt_id from attempts where outcome is null")
        assert self.counts.attempts == self.rows("select count(*) from attempts")[0][0]
        assert sorted(self.lending.revoked) == sorted({*self.lending.revoked})
        assert {*self.lending.joined} <= {*self.lending.revoked}


def _connect_quickly(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")  # what survives a power cut is no question here
    return connection


@asynccontextmanager
async def open_run(
    path: Path, pretence: Pretence | None = None, *, session: int = 1, results: Mapping[str, str] | None = None
) -> AsyncGenerator[Run]:
    """Open a run in a folder of its own; the ledger's file is complete when the block ends."""
    path.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's folder
    pretence = pretence or Pretence()
    async with open_ledger(path / "ledger.sqlite3", threaded=False, connect=_connect_quickly) as ledger:
        known = await ledger.begin_session(
            run_id="run-1",
            name="test",
            started_at=AT,
            config_sha256="0" * 64,
            version="1",
            config_path=None,
            options_json="{}",
            pid=1,
            host="here",
        )
        run: Run

        def emit(event: Event) -> None:
            run.tell(event, None)

        stop = Stop(emit, trio.CancelScope())
        records = LedgerRecords(
            ledger,
            ArtifactWriter(path / "artifacts", threaded=False),
            rejected=RejectedTexts(path / "rejected", threaded=False).keep,
            emit=emit,
            now=lambda: AT,
            session=known.number,
        )
        run = Run(path, ledger, records, stop, pretence, InProcess(pretence.main))
        pretence.ended = run.finished.__contains__
        yield run
        with suppress(OSError):
            await records.artifacts.aclose()
