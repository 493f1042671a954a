"""A run's documents in memory and virtual time: real ledger, artifacts, gate and agents, a simulated provider."""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import trio
from tests.bridge.world import AT, World, open_world

from agent_pipeline.documents import ArtifactWriter, RejectedTexts
from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import Event
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.ledger import Ledger, open_ledger
from agent_pipeline.ledger.schema import connect
from agent_pipeline.pipeline.admission import Admission, Stop, Tally
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.document_records import LedgerRecords
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.stage import PlannedStage, Stage, stage
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

EventT = TypeVar("EventT", bound=Event)
StageFunction = Callable[[Document, StageContext], Awaitable[Document]]


def entry(position: int, text: str = "# Tides\n\nThe moon pulls the sea.", **changes: Any) -> SourceEntry:  # noqa: ANN401
    """Return an entry of a source; its id is its position unless told otherwise."""
    document_id = str(changes.pop("id", position))
    changes.setdefault("document", Document(document_id, text, source=f"in.md:{position}"))
    return SourceEntry(position, document_id, "in.md", **changes)


def entries(count: int) -> list[SourceEntry]:
    """Return so many documents."""
    return [entry(position) for position in range(1, count + 1)]


def plan(*stages: Stage | StageFunction | PlannedStage) -> list[PlannedStage]:
    """Make a pipeline's stages of functions, named after themselves."""
    planned = []
    for one in stages:
        if isinstance(one, PlannedStage):
            planned.append(one)
        else:
            planned.append(PlannedStage(one if isinstance(one, Stage) else stage(one)))
    return planned


async def upper(document: Document, context: StageContext) -> Document:
    """Be a stage that does something."""
    return document.with_text(document.text.upper()).with_fields(cycle=context.cycle)


@dataclass
class Run:
    """One run: start it with `documents`, then look at what it left."""

    path: Path
    itinerary: Itinerary
    world: World
    ledger: Ledger
    records: LedgerRecords
    stop: Stop
    tally: Tally = field(default_factory=Tally)
    pulled: int = 0

    async def documents(
        self, source: Iterable[SourceEntry] | AsyncGenerator[SourceEntry], *, in_flight: int = 10
    ) -> None:
        """Do with a source what `Pipeline.run` does."""
        with self.stop.scope:
            async with trio.open_nursery() as nursery:
                admission = Admission(
                    nursery, itinerary=self.itinerary, in_flight=in_flight, tally=self.tally, stop=self.stop
                )
                try:
                    await admission.admit(source if isinstance(source, AsyncGenerator) else self._pull(source))
                except AgentPipelineError as exc:
                    self.stop.request(exc.code, str(exc), cancel=False, error=exc)

    async def _pull(self, source: Iterable[SourceEntry]) -> AsyncGenerator[SourceEntry]:
        """Be a source, and count what was asked of it."""
        for one in source:
            await trio.lowlevel.checkpoint()
            self.pulled += 1
            yield one

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the ledger's file."""
        with closing(sqlite3.connect(self.path / "ledger.sqlite3")) as connection:
            return connection.execute(sql).fetchall()

    def outcomes(self) -> dict[str, tuple[str | None, str | None]]:
        """Outcome and error code by document."""
        rows = self.rows("select document_id, outcome, error_code from documents order by position")
        return {document: (outcome, code) for document, outcome, code in rows}

    def events(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind."""
        return [event for event in self.world.events if isinstance(event, kind)]

    @property
    def artifacts(self) -> dict[str, str]:
        """Text by file name, without temporary files."""
        folder = self.path / "artifacts"
        return {path.name: path.read_text() for path in sorted(folder.glob("[!.]*"))}

    @property
    def rejected(self) -> dict[str, str]:
        """The same for texts that were never approved."""
        folder = self.path / "rejected"
        return {path.name: path.read_text() for path in sorted(folder.iterdir())} if folder.exists() else {}

    def assert_accounted(self) -> None:
        """Every document that was admitted has one row and one terminal record, and they agree with the tally."""
        rows = self.rows("select document_id, outcome from documents")
        assert None not in {outcome for _, outcome in rows}
        counts = self.tally.counts()
        assert len(rows) == counts.total == counts.succeeded + counts.failed + counts.skipped + counts.cancelled
        self.world.assert_idle()


def _open_ledger(path: Path, pages: int | None) -> AbstractAsyncContextManager[Ledger]:
    """Open a ledger that works without threads; with `pages`, on a disk that is full soon."""

    def connect_to_small(file: Path) -> sqlite3.Connection:
        connection = connect(file)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    return open_ledger(path / "ledger.sqlite3", threaded=False, connect=connect if pages is None else connect_to_small)


@asynccontextmanager
async def open_run(
    path: Path,
    stages: Sequence[PlannedStage],
    *,
    document_timeout: float | None = None,
    stage_timeout: float | None = None,
    artifacts: Path | None = None,
    pages: int | None = None,
    secrets: SecretValues = NO_SECRETS,
    **world: Any,  # noqa: ANN401 - as `open_world` takes it
) -> AsyncGenerator[Run]:
    """Open a run in a folder of its own; the ledger's file is complete when the block ends."""
    path.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's folder
    async with open_world(**world) as open_, _open_ledger(path, pages) as ledger:
        await ledger.begin_session(
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
        records = LedgerRecords(
            ledger,
            ArtifactWriter(artifacts or path / "artifacts", threaded=False),
            rejected=RejectedTexts(path / "rejected", threaded=False).keep,
            emit=open_.events.append,
            now=lambda: AT,
            clean=secrets.text,
        )
        itinerary = Itinerary(
            stages=stages,
            fingerprints={planned.stage.name: planned.stage.name for planned in stages},
            document_timeout=document_timeout,
            stage_timeout=stage_timeout,
            records=records,
            bridge=open_.bridge,
            emit=open_.events.append,
            now=lambda: AT,
            clean=secrets.text,
            secrets=secrets,
        )
        yield Run(path, itinerary, open_, ledger, records, Stop(open_.events.append, trio.CancelScope()))
