"""Documents that are files of their own: found by a glob or in a folder, in sorted order, links not followed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from agent_pipeline.documents.conversion import is_converted
from agent_pipeline.documents.converters import Unconverted
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

    Hidden names match only where the pattern itself begins with a dot. What matches may be no regular file; a folder
    that can't be listed is like a file that can't be read: nothing is left out silently.
    """
    # Not by functions that call each other: folders may be nested deeper than calls.
    levels = [_Level(search.folder, search.prefix, _close(search.pattern, {0}))]
    while levels:
        level = levels[-1]
        if level.names is None and not level.list_names():
            yield str(level.prefix), level.folder
        if not level.names:
            levels.pop()
            continue
        name, is_folder = level.names.pop()
        reached = _advance(search.pattern, level.states, name)
        if is_folder and reached:
            levels.append(_Level(level.folder / name, level.prefix / name, reached))
        elif len(search.pattern) in reached:
            yield str(level.prefix / name), level.folder / name


def would_find(search: FileSearch, path: Path) -> bool:
    """Say whether a file at this absolute path, there or not, would be found."""
    try:
        names = path.relative_to(search.folder.absolute()).parts
    except ValueError:
        return False
    states = _close(search.pattern, {0})
    for name in names:
        states = _advance(search.pattern, states, name)
    return len(search.pattern) in states


def read_files(search: FileSearch) -> Iterator[SourceEntry | Unconverted]:
    """Yield an entry per file that matches; one that can't be used is an entry with an error."""
    for index, (name, path) in enumerate(find_files(search)):
        yield read_file(path, name, index + 1)


def read_file(path: Path, name: str, position: int) -> SourceEntry | Unconverted:
    """Return the entry of one file, whose name below the source is its id; what has to be converted is not read yet."""
    shown = os.fsencode(path).decode("utf-8", "replace")
    place = Place(position, shown)
    try:
        document_id = read_id(name, position)
    except InputError as exc:
        error = DocumentInvalidError(f"{shown}: {exc}")
        return SourceEntry(position, f"file-{position}", shown, error=error)
    if is_converted(path):
        return Unconverted(path, document_id, place)
    try:
        return text_entry(place, document_id, read_document(path, MAX_DOCUMENT_BYTES))
    except DocumentInvalidError as exc:
        return SourceEntry(position, document_id, shown, error=exc)


@dataclass(slots=True)
class _Level:
    """A folder on the way down: how far into the pattern its names are, and those still to be looked at, last first."""

    folder: Path
    prefix: PurePosixPath
    states: frozenset[int]
    names: list[tuple[str, bool]] | None = None

    def list_names(self) -> bool:
        """Find out which names there are, and which of them are folders; False if that can't be done."""
        self.names = []
        try:
            with os.scandir(self.folder) as listing:
                self.names = sorted(((one.name, one.is_dir(follow_symlinks=False)) for one in listing), reverse=True)
        except OSError:
            return False
        return True


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
