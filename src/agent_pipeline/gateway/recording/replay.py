"""Answers requests from a recording: nothing leaves the process, and what was never recorded is an error."""

from collections.abc import AsyncIterator, Awaitable, Callable
from difflib import get_close_matches
from typing import TypeVar

import httpx2
import trio

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.result import RecordingTotals
from agent_pipeline.errors import ReplayMissError
from agent_pipeline.gateway.asker import ASKER, Asker
from agent_pipeline.gateway.failures import quoted
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.recording.asked import AskedRequest, Likeness
from agent_pipeline.gateway.recording.breaks import as_raised
from agent_pipeline.gateway.recording.directory import Recording
from agent_pipeline.gateway.recording.drift import nearest, told
from agent_pipeline.gateway.recording.exchanges import Exchange
from agent_pipeline.gateway.recording.lanes import Lane, load_lane

_MOST_COMPARED = 1000
"""Names of documents that are looked through for a similar one."""

ResultT = TypeVar("ResultT")

Pace = Callable[[float], Awaitable[object]]
"""Lets the seconds pass that an exchange took."""


async def at_once(_latency: float) -> None:
    """Let no time pass, but others have their turn."""
    await trio.lowlevel.checkpoint()


class Replay:
    """Hands out the exchanges of a recording, each once, document by document.

    Args:
        recording: nobody writes into it meanwhile.
        likeness: as it was recorded with, and what the folders of that time are called.
        threaded: read in a thread; False reads on the Trio thread, for virtual time.
        pace: `at_once`, or what lets the recorded seconds pass.
    """

    def __init__(self, recording: Recording, likeness: Likeness, *, threaded: bool, pace: Pace) -> None:
        self.likeness = likeness
        self.pace = pace
        self._recording = recording
        self._threaded = threaded
        self._thread = trio.CapacityLimiter(1)
        self._turn = trio.Lock()
        self._lanes: dict[str | None, Lane] = {}
        self._names: list[str] | None = None
        self._replayed = 0
        self._missed = 0
        self._redacted = 0

    def totals(self) -> RecordingTotals:
        """Return what was replayed in this session."""
        held = self._recording.index.exchanges
        return RecordingTotals(
            "replay",
            str(self._recording.directory),
            exchanges=self._replayed,
            missed=self._missed,
            unused=None if held is None else max(0, held - self._replayed),
            redacted=self._redacted,
        )

    async def take(self, asked: AskedRequest) -> tuple[Exchange, Callable[[], None]]:
        """Return the next recorded exchange of the current document that asked this, and what gives it back.

        Raises:
            ReplayMissError: there is none, or none any more.
            RecordingError: the recording is damaged.
        """
        document_id = current_scope().document_id
        lane = await self._lane(document_id)
        digest = asked.digest()
        offset = lane.take(digest)
        if offset is None:
            self._missed += 1
            raise await self._apart(lambda: self._miss(lane, asked, document_id))
        exchange = await self._apart(lambda: lane.read(offset))
        self._count(exchange, 1)

        def give_back() -> None:
            lane.give_back(digest, offset)
            self._count(exchange, -1)

        return exchange, give_back

    def _count(self, exchange: Exchange, step: int) -> None:
        self._replayed += step
        self._redacted += step * exchange.is_redacted

    async def _lane(self, document_id: str | None) -> Lane:
        async with self._turn:
            lane = self._lanes.get(document_id)
            if lane is None:
                path = self._recording.lane(document_id)
                lane = self._lanes[document_id] = await self._apart(lambda: load_lane(path, document_id))
        return lane

    def _miss(self, lane: Lane, asked: AskedRequest, document_id: str | None) -> ReplayMissError:
        whose = "a request made for no document" if document_id is None else f"document {quoted(document_id)}"
        what = f"{whose}: its request to {quoted(asked.path)}"
        if not lane.offsets:
            where = self._recording.directory
            return ReplayMissError(
                f"{what} was not recorded: {where} has nothing of it{self._similar(lane)}; record again"
            )
        near = nearest(asked, (lane.read(offset) for offset in lane.offsets))
        if near is None or not near.differences:
            recorded = lane.recorded(asked.digest())
            times = "once" if recorded == 1 else f"{recorded} times"
            return ReplayMissError(
                f"{what} was recorded {times}, and is asked once more; "
                "the recorded run was cut short, or asked less often; record again"
            )
        first = near.differences[0]
        exchange = near.exchange
        more = len(near.differences) - 1
        others = f" (and {more} more)" if more else ""
        state = "" if lane.offsets[near.place - 1] in lane.unused() else ", already replayed"
        place = f"exchange {near.place} of {len(lane.offsets)} (role {quoted(exchange.role)}"
        place += f", stage {quoted(exchange.stage)}{state})" if exchange.stage else f"{state})"
        return ReplayMissError(
            f"{what} was not recorded; nearest is {place}, where {told(first)}{others}; "
            "undo the change, or record again",
            field=first.path,
        )

    def _similar(self, lane: Lane) -> str:
        if self._names is None:  # once: every document of another source is missing
            self._names = [path.stem for path in self._recording.lanes()]
        known = self._names
        near = get_close_matches(lane.path.stem, known[:_MOST_COMPARED], n=1)
        return f", but of {len(known)} others{f', such as {near[0]}' if near else ''}" if known else ""

    async def _apart(self, work: Callable[[], ResultT]) -> ResultT:
        if not self._threaded:
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._thread)


class ReplayTransport(httpx2.AsyncBaseTransport):
    """Stands where connections to providers would be."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request as it was answered, or break as it broke.

        Raises:
            ReplayMissError: it was never recorded; it counts as not sent.
            RecordingError: the recording is damaged; likewise.
        """
        asker: Asker = request.extensions[ASKER]
        content, path = await request.aread(), request.url.raw_path.decode("ascii")
        asked = self._replay.likeness.asked(asker.provider, request.method, path, content)
        exchange, give_back = await self._replay.take(asked)
        if exchange.sent:
            try:
                await request.extensions["trace"]("http11.send_request_headers.started", {})
            except BaseException:  # a pause began meanwhile: this request comes again
                give_back()
                raise
        await self._replay.pace(exchange.latency)
        if exchange.status is None and exchange.broken is not None:
            raise as_raised(exchange.broken, asker.attempt)
        return httpx2.Response(
            exchange.status or 0, headers=exchange.headers, stream=_ReplayedBody(exchange, asker.attempt)
        )


class _ReplayedBody(httpx2.AsyncByteStream):
    """An answer's body in one piece, and the break where it had one."""

    def __init__(self, exchange: Exchange, attempt: Attempt) -> None:
        self._exchange = exchange
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._exchange.content
        if self._exchange.broken is not None:
            raise as_raised(self._exchange.broken, self._attempt)


def replay_pool(replay: Replay) -> ConnectionPool:
    """Return a pool that has no connections, and answers from a recording."""
    return ConnectionPool(lambda: ReplayTransport(replay))
