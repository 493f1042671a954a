"""Artifacts as ledgers recorded them: whether they are still what was written, and their removal."""

import errno
import hashlib
import math
import os
import stat
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from agent_pipeline.documents.folder import unlink
from agent_pipeline.domain.document import Artifact
from agent_pipeline.errors import ArtifactError

# Gone, a link, a socket, a name no file can have: not the file that was recorded. What says that this can't be found
# out (no rights, no descriptors, a failing disk) is not among them.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE_BYTES = 1024 * 1024

_TICK = 0.05
"""Seconds; a file's times are those of the kernel's last tick, a little before the clock's."""


class Recorded(NamedTuple):
    """An artifact on record, and the times in which its run may have touched it (seconds since 1970).

    Without times nothing is known, and the file has to be read.

    Attributes:
        begun_at: its document was begun.
        ended_at: it was recorded.
        left_at: the process that wrote it had ended.
    """

    artifact: Artifact
    begun_at: float = math.inf
    ended_at: float = -math.inf
    left_at: float = -math.inf


def artifact_is_whole(artifact: Artifact, directory: Path) -> bool:
    """Say whether an artifact is a regular file directly in `directory`, of the size and SHA-256 on record.

    Raises:
        ArtifactError: it is there, but can't be read.
    """
    return artifacts_are_whole([Recorded(artifact)], directory)[0]


def artifacts_are_whole(many: Iterable[Recorded], directory: Path) -> list[bool]:
    """Say it of each of many; blocks while it reads: for a thread, some thousands at a time.

    A file that nobody but its run can have touched is not read: decision 0032.

    Raises:
        ArtifactError: one is there, but can't be read.
    """
    with _existing(directory) as folder:
        return [folder.is_untouched(one) or folder.is_whole(one.artifact) for one in many]


def remove_artifacts(paths_with_hashes: Iterable[tuple[str, str]], *, directory: Path) -> list[str]:
    """Remove artifacts that earlier runs wrote into `directory` and nobody has changed since.

    What lies elsewhere, is no regular file, or has another content is left alone.

    Args:
        paths_with_hashes: path and SHA-256 as ledgers recorded them.
        directory: the only folder in which anything is removed.

    Returns:
        The paths that were removed.

    Raises:
        ArtifactError: a file that should go can't be read or removed; those before it are gone.
    """
    with _existing(directory) as folder:
        return [path for path, sha256 in paths_with_hashes if folder.digest(path) == sha256 and folder.remove(path)]


def claimed_names(names: Collection[str], recorded: Iterable[str], directory: Path) -> set[str]:
    """Return which of these names in `directory` are among the recorded paths."""
    with _existing(directory) as folder:
        return {name for path in recorded if path.rpartition("/")[2] in names and (name := folder.name_of(path))}


class _Folder:
    """The artifacts folder, by its real path and its descriptor, so that what is looked at lies nowhere else."""

    def __init__(self, path: str, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self._real = lru_cache(maxsize=64)(os.path.realpath)

    def name_of(self, path: str) -> str | None:
        """Return the name of what lies directly in the folder, None for what lies elsewhere."""
        parent, separator, name = path.rpartition("/")
        is_usable = "\x00" not in path and name not in {"", ".", ".."}
        return name if is_usable and self._real(parent + separator) == self._path else None

    def is_untouched(self, recorded: Recorded) -> bool:
        """Say whether a file of that size was last written by its run and looks the same since; False if in doubt."""
        name = self.name_of(recorded.artifact.path)
        if name is None or self._descriptor is None:
            return False
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == recorded.artifact.size_bytes
            and recorded.begun_at <= status.st_mtime <= recorded.ended_at
            # Not set by those who put an old time on a new file, as cp -p does.
            and status.st_ctime <= recorded.left_at - _TICK
        )

    def is_whole(self, artifact: Artifact) -> bool:
        """Say whether a file has the size and hash on record, by reading it.

        Raises:
            ArtifactError: it is there, but can't be read.
        """
        return self.digest(artifact.path, size_bytes=artifact.size_bytes) == artifact.sha256

    def digest(self, path: str, *, size_bytes: int | None = None) -> str | None:
        """Return the SHA-256 of a regular file; None for anything else, and for one of another size than this.

        Raises:
            ArtifactError: it is there, but can't be read.
        """
        name = self.name_of(path)
        if name is None or self._descriptor is None:
            return None
        try:
            descriptor = os.open(name, _READING, dir_fd=self._descriptor)
            try:
                return _digest(descriptor, size_bytes)
            finally:
                os.close(descriptor)
        except OSError as exc:
            if exc.errno in _NOT_THERE:
                return None
            raise ArtifactError(f"{path}: can't be read: {exc.strerror}") from exc

    def remove(self, path: str) -> bool:
        """Remove what has just been looked at; False if it is gone."""
        name = self.name_of(path)
        if name is None or self._descriptor is None:
            return False
        try:
            return unlink(self._descriptor, name)
        except OSError as exc:
            raise ArtifactError(f"{path}: can't be removed: {exc.strerror}") from exc


@contextmanager
def _existing(directory: Path) -> Generator[_Folder]:
    """Open the folder; one that is not there holds nothing."""
    path = os.path.realpath(directory)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno not in _NOT_THERE:
            raise ArtifactError(f"{path}: the artifacts folder can't be read: {exc.strerror}") from exc
        yield _Folder(path, None)
        return
    try:
        yield _Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _digest(descriptor: int, size_bytes: int | None) -> str | None:
    status = os.fstat(descriptor)
    left = status.st_size
    if not stat.S_ISREG(status.st_mode) or (size_bytes is not None and size_bytes != left):
        return None
    # As long as it was when it was looked at: hashlib.file_digest takes three times as long for a small file.
    digest = hashlib.sha256()
    while left > 0 and (piece := os.read(descriptor, min(left, _PIECE_BYTES))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
