"""Opening a source: which format it is, whether it can be used at all, and its entries one after the other."""

import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from agent_pipeline.documents.conversion import CONVERTED_SUFFIXES, can_convert, check_can_convert, is_converted
from agent_pipeline.documents.converters import AT_ONCE, Converters, Unconverted
from agent_pipeline.documents.files import ReadLine, UnbufferedLines, is_folder, open_named
from agent_pipeline.documents.folder_documents import (
    FileSearch,
    find_files,
    read_file,
    read_files,
    search_folder,
    search_glob,
    would_find,
)
from agent_pipeline.documents.json_documents import load_entries
from agent_pipeline.documents.line_documents import read_csv, read_json_lines
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import InputError

_LINE_FORMATS: dict[str, Callable[[ReadLine, str], Iterator[SourceEntry]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
}
_DOCUMENT_SUFFIXES = {".md", ".markdown", ".txt", ".py", ".ipynb"}

_BATCH_ENTRIES = 256
_BATCH_CHARACTERS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What the user named as source: exactly one of `path`, `glob` and `stdin`.

    Attributes:
        path: a file or folder, relative to `root`; `-` means stdin.
        glob: a pattern relative to `root`.
        stdin: JSON Lines on standard input.
        root: the folder of the config that names the source.
    """

    path: Path | None = None
    glob: str | None = None
    stdin: bool = False
    root: Path = Path()


class Source:
    """The entries of a source; made by `open_source`.

    Attributes:
        count_hint: how many entries there will be, where that is known without reading everything.
        files: yields the files that are read, or converted, when their turn comes, without opening any; None for
            what is read otherwise.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[SourceEntry | Unconverted]],
        *,
        limit: int | None,
        count_hint: int | None = None,
        threaded: bool = True,
        is_endless: bool = False,
        files: Callable[[], Iterator[Path]] | None = None,
    ) -> None:
        self.count_hint = count_hint
        self.files = files
        self._read = read
        self._limit = limit
        self._threaded = threaded
        self._is_endless = is_endless

    async def entries(self) -> AsyncGenerator[SourceEntry, None]:
        """Yield the entries in order, read in a thread a few at a time; close it (`aclosing`) when leaving early.

        Cancelled while waiting for standard input, the waiting thread is left behind; a file is closed in any case,
        and a process that converts one is killed.

        Raises:
            InputError: standard input holds no entry, or reading broke off.
        """
        reader = _limited(self._read(), self._limit)
        converters = Converters(threaded=self._threaded)
        try:
            while batch := await self._next_batch(reader):
                for entry in await converters.converted(batch):
                    yield entry
        finally:
            converters.close()
            if not self._is_endless:
                reader.close()

    async def _next_batch(self, reader: Iterator[SourceEntry | Unconverted]) -> list[SourceEntry | Unconverted]:
        # One at a time where entries come as somebody sends them: a batch would hold the first back for the last.
        collect = partial(_collect, reader, 1 if self._is_endless else _BATCH_ENTRIES)
        if self._threaded:
            return await trio.to_thread.run_sync(collect, abandon_on_cancel=self._is_endless)
        await trio.lowlevel.checkpoint()
        return collect()


def open_source(spec: SourceSpec, *, limit: int | None = None, threaded: bool = True, stdin: int = 0) -> Source:
    """Find out what a source is and whether it can be used; reads a JSON file as a whole, of others the beginning.

    Blocks while it reads: call it before Trio runs or in a thread where the source may be large.

    Args:
        spec: what the user named.
        limit: stop after so many entries that are not skipped.
        threaded: read in a thread; False reads on the Trio thread, for virtual time.
        stdin: the descriptor that is standard input.

    Raises:
        InputError: the source is missing, empty, of no known format, or its ids can't be used.
    """
    if limit is not None and limit < 0:
        raise InputError(f"the limit must not be negative, but is {limit}")
    if sum((spec.path is not None, spec.glob is not None, spec.stdin)) != 1:
        raise InputError("a source is exactly one of path, glob and stdin")
    if spec.stdin or spec.path == Path("-"):
        return Source(lambda: _read_stdin(stdin), limit=limit, threaded=True, is_endless=True)
    if spec.glob is not None:
        return _open_search(search_glob(spec.glob, spec.root), f"the glob {spec.glob!r}", limit, threaded=threaded)
    path = Path(os.path.normpath(spec.root / (spec.path or "")))
    if is_folder(path):
        return _open_search(search_folder(path), "the folder", limit, threaded=threaded)
    return _open_file(path, limit, threaded=threaded)


def is_in_source(spec: SourceSpec, path: Path) -> bool:
    """Say whether a file at this absolute path, there or not, would be a document of the source, or the source."""
    if spec.glob is not None:
        return would_find(search_glob(spec.glob, spec.root), path)
    place = None if spec.path is None else Path(os.path.normpath(spec.root / spec.path))
    return place is not None and place in (path, *path.parents)


def _open_file(path: Path, limit: int | None, *, threaded: bool) -> Source:
    suffix = path.suffix.lower()
    with open_named(path) as file:
        is_empty = os.fstat(file.fileno()).st_size == 0
    if is_empty:
        raise InputError(f"{path}: the source is empty")
    if suffix == ".json":
        entries = list(_limited(iter(load_entries(path)), limit))
        return Source(lambda: iter(entries), limit=None, count_hint=len(entries), threaded=False)
    if suffix in _LINE_FORMATS:
        read = partial(_read_lines, path, _LINE_FORMATS[suffix])
        with closing(read()) as reader:
            if next(reader, None) is None:
                raise InputError(f"{path}: the source is empty: it holds no documents")
        return Source(read, limit=limit, threaded=threaded)
    if suffix in _DOCUMENT_SUFFIXES | CONVERTED_SUFFIXES:
        check_can_convert(path)
        # The user named this very file, so a link to it is followed; those found by a search are not.
        resolved = Path(os.path.realpath(path))
        return Source(
            lambda: iter([read_file(resolved, path.name, 1)]),
            limit=limit,
            count_hint=1,
            threaded=threaded,
            files=partial(iter, [resolved]) if is_converted(resolved) else None,
        )
    known = ", ".join([".json", *_LINE_FORMATS, *sorted(_DOCUMENT_SUFFIXES | CONVERTED_SUFFIXES)])
    raise InputError(f"{path}: a source of unknown format; known are {known}, a folder, a glob and - (stdin)")


def _open_search(search: FileSearch, name: str, limit: int | None, *, threaded: bool) -> Source:
    if not is_folder(search.folder):
        raise InputError(f"{str(search.folder)!r}: the source does not exist or is no folder")
    if next(find_files(search), None) is None:
        raise InputError(f"{search.folder}: the source is empty: {name} matches no file (hidden ones don't count)")
    if not can_convert():
        for _, path in find_files(search):
            check_can_convert(path)
    return Source(
        partial(read_files, search),
        limit=limit,
        threaded=threaded,
        files=lambda: (path for _, path in find_files(search)),
    )


def _read_lines(
    path: Path, read: Callable[[ReadLine, str], Iterator[SourceEntry]]
) -> Generator[SourceEntry, None, None]:
    with open_named(path) as file:
        yield from read(file.readline, str(path))


def _read_stdin(descriptor: int) -> Iterator[SourceEntry]:
    is_empty = True
    for entry in read_json_lines(UnbufferedLines(partial(os.read, descriptor)), "stdin"):
        is_empty = False
        yield entry
    if is_empty:
        raise InputError("stdin: the source is empty: expected JSON Lines, one document per line")


EntryT = TypeVar("EntryT", bound=SourceEntry | Unconverted)


def _limited(entries: Iterator[EntryT], limit: int | None) -> Generator[EntryT, None, None]:
    """Stop at the limit without asking for another entry, which might never come."""
    taken = 0
    if limit is None:
        yield from entries
        return
    try:
        while taken < limit:
            entry = next(entries, None)
            if entry is None:
                return
            taken += isinstance(entry, Unconverted) or entry.skipped is None  # what is converted is never skipped
            yield entry
    finally:
        if isinstance(entries, Generator):
            entries.close()


def _collect(reader: Iterator[SourceEntry | Unconverted], most: int) -> list[SourceEntry | Unconverted]:
    batch: list[SourceEntry | Unconverted] = []
    characters = unconverted = 0
    try:
        for entry in reader:
            batch.append(entry)
            if isinstance(entry, Unconverted):
                unconverted += 1
            elif entry.document is not None:
                characters += len(entry.document.text)
            # Those that can be converted at once, and no more: the first of them waits for the last.
            if len(batch) >= most or characters >= _BATCH_CHARACTERS or unconverted >= AT_ONCE:
                break
    except OSError as exc:
        raise InputError(f"reading the source broke off: {exc.strerror or exc}") from exc
    return batch
