"""The folder files are written into: opened once, everything relative to its descriptor, what fails told as ours."""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agent_pipeline.errors import ArtifactError, DiskFullError

# No room, no quota left, turned read-only, a failing device: every other file would meet the same. EFBIG is not among
# them, since it is about the size of one file; what needs other rights or another path may be about one file as well.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


FileId = tuple[int, int]
"""What makes two names one file: device and inode."""


def absolute(directory: Path) -> Path:
    """Return the folder's path without `..`, but with links as they are named."""
    return Path(os.path.abspath(directory))  # noqa: PTH100 - `resolve` follows links


@contextmanager
def opened(directory: Path) -> Generator[int]:
    """Open the folder, made if it is not there: all that follows happens relative to this descriptor."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def reporting(directory: Path, problem: str) -> Generator[None]:
    """Turn what the operating system says into an error of ours.

    Raises:
        DiskFullError: the disk takes no more, so that every other file would fail as well.
        ArtifactError: anything else.
    """
    try:
        yield
    except (OSError, ValueError) as exc:
        raise error_of(exc, directory, problem) from exc


def error_of(exc: OSError | ValueError, directory: Path, problem: str) -> ArtifactError:
    """Return what the operating system says as an error of ours, which `reporting` raises."""
    error: ArtifactError
    if isinstance(exc, OSError):
        kind = DiskFullError if exc.errno in _DISK_ERRORS else ArtifactError
        error = kind(f"{directory}: {problem}: {exc.strerror or exc}")
    else:  # a NUL in the path
        error = ArtifactError(f"{str(directory)!r}: {problem}: {exc}")
    error.__cause__ = exc
    return error


def unlink(folder: int, name: str) -> bool:
    """Remove a name; False if it was gone already."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def unlink_same(folder: int, name: str, file_id: FileId) -> bool:
    """Remove a name, if it still is that very file: somebody may have put another one there meanwhile."""
    status = regular(folder, name)
    return status is not None and id_of(status) == file_id and unlink(folder, name)


def regular(folder: int, name: str) -> os.stat_result | None:
    """Return the status of a regular file, None for anything else."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def exists(folder: int, name: str) -> bool:
    """Say whether anything has this name, a dangling link too."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def id_of(status: os.stat_result) -> FileId:
    """Return what makes two names one file."""
    return status.st_dev, status.st_ino
