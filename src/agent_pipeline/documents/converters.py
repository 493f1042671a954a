"""Several files converted at once, in order, for as long as somebody wants them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from agent_pipeline.documents.conversion import ConversionProcess
from agent_pipeline.documents.entries import MAX_DOCUMENT_BYTES, Place, invalid, text_entry
from agent_pipeline.documents.files import read_content
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import DocumentInvalidError

AT_ONCE = max(1, min(4, os.cpu_count() or 1))
"""Processes that convert at the same time: it is nothing but processor time."""


@dataclass(frozen=True, slots=True)
class Unconverted:
    """An entry whose file is still to be read and converted.

    Attributes:
        path: of the file.
        document_id: that its document will have.
        place: where it stands.
    """

    path: Path
    document_id: str
    place: Place


class Converters:
    """Processes that convert, begun as they are needed; close them.

    Args:
        threaded: wait for them in threads; False converts on the Trio thread, for virtual time.
        make_process: makes one that has not begun.
    """

    def __init__(
        self, *, threaded: bool = True, make_process: Callable[[], ConversionProcess] = ConversionProcess
    ) -> None:
        self._threaded = threaded
        self._make_process = make_process
        self._all: list[ConversionProcess] = []
        self._idle: list[ConversionProcess] = []
        self._places = trio.Semaphore(AT_ONCE)
        self._threads = trio.CapacityLimiter(AT_ONCE)  # its own, which those of stages can't hold up

    async def converted(self, batch: Sequence[SourceEntry | Unconverted]) -> list[SourceEntry]:
        """Return the batch with each file converted; one that can't be is an entry with an error.

        Cancelled, what is under way is killed, and this goes on when its threads have ended.
        """
        entries = [None if isinstance(one, Unconverted) else one for one in batch]
        wanted = [(index, one) for index, one in enumerate(batch) if isinstance(one, Unconverted)]
        if self._threaded and wanted:
            await self._in_threads(wanted, entries)
        for index, one in wanted:
            if entries[index] is None:
                entries[index] = self._convert(one, self._process())
        return [entry for entry in entries if entry is not None]

    def close(self) -> None:
        """End all processes."""
        for process in self._all:
            process.close()
        self._all.clear()
        self._idle.clear()

    async def _in_threads(self, wanted: Sequence[tuple[int, Unconverted]], entries: list[SourceEntry | None]) -> None:
        is_done = False

        async def kill_if_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                if not is_done:
                    for process in self._all:
                        process.kill()

        async def convert(index: int, one: Unconverted) -> None:
            async with self._places:
                process = self._process()
                entries[index] = await trio.to_thread.run_sync(self._convert, one, process, limiter=self._threads)

        async with trio.open_nursery() as guard:
            guard.start_soon(kill_if_cancelled)
            async with trio.open_nursery() as nursery:
                for index, one in wanted:
                    nursery.start_soon(convert, index, one)
            is_done = True
            guard.cancel_scope.cancel()

    def _process(self) -> ConversionProcess:
        if not self._idle:
            process = self._make_process()
            self._all.append(process)
            return process
        return self._idle.pop()

    def _convert(self, one: Unconverted, process: ConversionProcess) -> SourceEntry:
        suffix = one.path.suffix.lower()
        try:
            content = read_content(one.path, MAX_DOCUMENT_BYTES)
        except DocumentInvalidError as exc:
            self._idle.append(process)
            return SourceEntry(one.place.position, one.document_id, one.place.where, error=exc)
        try:
            made = process.convert(content, suffix)
        except DocumentInvalidError as exc:
            return invalid(one.place, str(exc), document_id=one.document_id)
        finally:
            self._idle.append(process)
        metadata = {"format": suffix.removeprefix("."), **({} if made.title is None else {"title": made.title})}
        return text_entry(one.place, one.document_id, made.text, metadata)
