"""Keeps what goes over a pool of connections: each exchange is a line in its document's file before its end is told.

So a run that is killed loses no exchange that it acted upon. An exchange is written in a thread of the recorder's own,
one after the other, and whoever made it waits: a slow disk slows requests, and nothing piles up in memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import httpx2
import trio

from agent_pipeline.control.scope import current_scope
from agent_pipeline.documents.folder import reporting
from agent_pipeline.domain.result import RecordingTotals
from agent_pipeline.errors import (
    ArtifactError,
    DiskFullError,
    RecordingError,
)
from agent_pipeline.gateway.asker import ASKER, Asker
from agent_pipeline.gateway.body import stream_of
from agent_pipeline.gateway.pool import ConnectionPool, PoolStatistics
from agent_pipeline.gateway.recording.asked import Likeness
from agent_pipeline.gateway.recording.breaks import break_of
from agent_pipeline.gateway.recording.directory import Recording
from agent_pipeline.gateway.recording.exchanges import Exchange, to_line
from agent_pipeline.gateway.recording.heard import Heard
from agent_pipeline.telemetry import LinesLostError, continue_file
from agent_pipeline.telemetry.line_file import LineFile


class Recorder:
    """Writes exchanges into a recording.

    Args:
        recording: begun; nobody else writes into it.
        likeness: what requests are reduced to, and whose secrets are written nowhere.
        session: of the run, from 1.
        threaded: write in a thread; False writes on the Trio thread, for virtual time.

    Attributes:
        likeness: as it was given.
    """

    def __init__(self, recording: Recording, likeness: Likeness, *, session: int, threaded: bool) -> None:
        self.likeness = likeness
        self._session = session
        self._recording = recording
        self._threaded = threaded
        self._thread = trio.CapacityLimiter(1)
        known = recording.index.exchanges
        self._before = recording.count() if known is None else known
        self._written = 0
        self._redacted = 0

    def totals(self) -> RecordingTotals:
        """Return what was written in this session."""
        directory = str(self._recording.directory)
        return RecordingTotals("record", directory, exchanges=self._written, redacted=self._redacted)

    async def keep(self, heard: Heard) -> None:
        """Write one exchange; carried through when cancelled.

        Raises:
            DiskFullError: there is no room; the file ends with its last whole line.
            RecordingError: it can't be written for another reason; likewise.
        """
        with trio.CancelScope(shield=True):
            if self._threaded:
                exchange = await trio.to_thread.run_sync(self._write, heard, limiter=self._thread)
            else:
                exchange = self._write(heard)
        self._written += 1
        self._redacted += exchange.is_redacted

    async def aclose(self) -> None:
        """Write down how many exchanges there are."""
        await trio.lowlevel.checkpoint()
        with suppress(RecordingError):  # a recording that nobody counted is replayed like any other
            self._recording.note(self._before + self._written)

    def _write(self, heard: Heard) -> Exchange:
        exchange = heard.exchange(self.likeness, self._session)
        path = self._recording.lane(exchange.document_id)
        try:
            with reporting(path, "the exchange can't be recorded"):
                file = LineFile(continue_file(path))  # a line that a kill or a full disk left half written goes
                try:
                    file.add(to_line(exchange))
                    file.flush()
                except LinesLostError as exc:
                    raise OSError(*getattr(exc.__cause__, "args", ())) from exc
                finally:
                    file.close()
        except DiskFullError:
            raise
        except ArtifactError as exc:
            raise RecordingError(str(exc)) from exc
        return exchange


@asynccontextmanager
async def open_recorder(
    recording: Recording, likeness: Likeness, *, session: int = 1, threaded: bool
) -> AsyncGenerator[Recorder]:
    """Open a recorder; its index is complete at the end, also on error and cancellation."""
    recorder = Recorder(recording, likeness, session=session, threaded=threaded)
    try:
        yield recorder
    finally:
        with trio.CancelScope(shield=True):
            await recorder.aclose()


class RecordingPool(ConnectionPool):
    """Another pool, all of whose exchanges are recorded."""

    def __init__(self, pool: ConnectionPool, recorder: Recorder) -> None:
        super().__init__()
        self.connections = pool.connections
        self._pool = pool
        self._recorder = recorder

    @asynccontextmanager
    async def exchange(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Response]:
        """Send one request; when the block ends, what came of it is on record.

        Cancelled from above nothing is, as nobody knows what would have come; an attempt's own timeout is.

        Raises:
            DiskFullError: the exchange can't be recorded; likewise RecordingError.
        """
        await request.aread()
        asker: Asker = request.extensions[ASKER]
        heard = Heard(asker, current_scope(), request, trio.current_time(), datetime.now(UTC))
        try:
            async with self._pool.exchange(request) as response:
                heard.response = response
                response.stream = _Overheard(stream_of(response), heard.chunks)
                yield response
        except (Exception, trio.Cancelled) as exc:
            heard.broken = break_of(exc, asker.attempt, self._recorder.likeness.secrets)
            if heard.broken is not None:
                heard.ended = trio.current_time()
                await self._recorder.keep(heard)
            raise
        heard.ended = trio.current_time()
        await self._recorder.keep(heard)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    def statistics(self) -> PoolStatistics:
        """Snapshot of the pool."""
        return self._pool.statistics()


def recording_pool(make_pool: Callable[[], ConnectionPool], recorder: Recorder) -> ConnectionPool:
    """Return a pool that records, over one that `make_pool` makes."""
    return RecordingPool(make_pool(), recorder)


class _Overheard(httpx2.AsyncByteStream):
    """An answer's body, of which every chunk is kept as it is read."""

    def __init__(self, stream: httpx2.AsyncByteStream, chunks: list[bytes]) -> None:
        self._stream = stream
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._chunks.append(chunk)
            yield chunk

    async def aclose(self) -> None:
        """Close the connection's side of it."""
        await self._stream.aclose()
