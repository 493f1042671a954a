"""Documents that are files of their own: found by a glob or in a folder, in sorted order, links not followed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from agent_pipeline.documents.entries import MAX_DOCUMENT_BYTES, Place, read_id, text_entry
from agent_pipeline.documents.files import read_document
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import DocumentInvalidError, InputError

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Where files are looked for and which of them count.

    Attributes:
        folder: the fixed folder below which everything lies.
        pattern: one glob per path segment; `**` stands for any number of folders.
        prefix: what goes before a path relative to `folder` to make the document's id.
    """

    folder: Path
    pattern: tuple[str, ...]
    prefix: PurePosixPath


def search_folder(folder: Path) -> FileSearch:
    """Search for all files of a folder; ids are relative to it."""
    return FileSearch(folder, (_ANY_DEPTH,), PurePosixPath())


def search_glob(glob: str, root: Path) -> FileSearch:
    """Search by a glob relative to `root`; ids are relative to `root`, or to the glob's fixed folder outside of it.

    Raises:
        InputError: the glob can't be understood.
    """
    parts = PurePosixPath(glob).parts
    fixed = next((index for index, part in enumerate(parts) if _MAGIC.search(part)), max(len(parts) - 1, 0))
    pattern = parts[fixed:]
    if not pattern or ".." in pattern or "\x00" in glob:
        raise InputError(f"{glob!r} is not a usable glob; write for example docs/**/*.md")
    above = PurePosixPath(*parts[:fixed])
    is_below_root = not above.is_absolute() and ".." not in above.parts
    return FileSearch(Path(os.path.normpath(root / above)), pattern, above if is_below_root else PurePosixPath())


def find_files(search: FileSearch) -> Iterator[tuple[str, Path]]:
    """Yield id and path of all that matches, sorted by path segments; only folders' names are held in memory.

    Hidden names match only where the pattern itself begins with a dot. What matches may be no regular file.
    """
    yield from _walk(search.folder, search.prefix, search.pattern, _close(search.pattern, {0}))


def read_files(search: FileSearch) -> Iterator[SourceEntry]:
    """Yield an entry per file that matches; one that can't be used is an entry with an error."""
    for index, (name, path) in enumerate(find_files(search)):
        yield read_file(path, name, index + 1)


def read_file(path: Path, name: str, position: int) -> SourceEntry:
    """Return the entry of one file, whose name below the source is its id."""
    shown = os.fsencode(path).decode("utf-8", "replace")
    place = Place(position, shown)
    try:
        document_id = read_id(name, position)
    except InputError as exc:
        error = DocumentInvalidError(f"{shown}: {exc}")
        return SourceEntry(position, f"file-{position}", shown, error=error)
    try:
        return text_entry(place, document_id, read_document(path, MAX_DOCUMENT_BYTES))
    except DocumentInvalidError as exc:
        return SourceEntry(position, document_id, shown, error=exc)


def _walk(
    folder: Path, prefix: PurePosixPath, pattern: tuple[str, ...], states: frozenset[int]
) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as listing:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
    except OSError:
        # Shown as a document that can't be read, like a file that can't: nothing is left out silently.
        yield str(prefix), folder
        return
    for name, is_folder in found:
        reached = _advance(pattern, states, name)
        if not reached:
            continue
        if is_folder:
            yield from _walk(folder / name, prefix / name, pattern, reached)
        elif len(pattern) in reached:
            yield str(prefix / name), folder / name


def _advance(pattern: tuple[str, ...], states: frozenset[int], name: str) -> frozenset[int]:
    """Return how far into the pattern a path may be after one more segment."""
    reached: set[int] = set()
    for state in states:
        if state == len(pattern):
            continue
        if pattern[state] == _ANY_DEPTH:
            reached |= set() if name.startswith(".") else {state}
        elif fnmatchcase(name, pattern[state]) and (not name.startswith(".") or pattern[state].startswith(".")):
            reached.add(state + 1)
    return _close(pattern, reached)


def _close(pattern: tuple[str, ...], states: set[int]) -> frozenset[int]:
    """Add the states that need no further segment: `**` may stand for none."""
    closed = set(states)
    for state in range(len(pattern)):
        if state in closed and pattern[state] == _ANY_DEPTH:
            closed.add(state + 1)
    return frozenset(closed)
