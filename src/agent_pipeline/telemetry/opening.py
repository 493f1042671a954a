"""How a file of lines comes to be: made new, or taken up where an earlier session left it."""

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

_BLOCK = 64 * 1024


class OpenFile(NamedTuple):
    """A file to append lines to.

    Attributes:
        descriptor: who has it closes it.
        size: bytes before the first new line; None where others write as well, so that nothing may be cut off the end.
        removed_bytes: the torn line at its end, which is gone now.
    """

    descriptor: int
    size: int | None = 0
    removed_bytes: int = 0


def create_file(path: Path) -> OpenFile:
    """Create a new file for appending (0600) and the folders above it (0700).

    Raises:
        FileExistsError: something is there already; it is left alone.
        OSError: the folder or file can't be made.
    """
    _make_folders(path)
    return OpenFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600))


def continue_file(path: Path) -> OpenFile:
    """Open a file to append to it, made as by `create_file` where it is missing.

    A last line without its newline, or with NUL bytes (a power loss leaves those), is torn: it is cut off, and the cut
    is on disk before this returns. Only the end of the file is read, in small pieces.

    Raises:
        OSError: it is no regular file, or can't be opened or cut; it is left as it was.
    """
    _make_folders(path)
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        whole = _end_of_last_line(descriptor, size)
        if whole < size:
            os.ftruncate(descriptor, whole)
            os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenFile(descriptor, whole, size - whole)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, following no link at its end and never waiting; return its descriptor.

    Raises:
        OSError: it can't be opened, or is something else.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError(exc.errno, "a symbolic link, not a regular file", str(path)) from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _make_folders(path: Path) -> None:
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)


def _end_of_last_line(descriptor: int, size: int) -> int:
    """Return where the last whole line ends, 0 where there is none."""
    end = _rfind(descriptor, b"\n", 0, size) + 1
    while end:
        begin = _rfind(descriptor, b"\n", 0, end - 1) + 1
        if _rfind(descriptor, b"\0", begin, end) < 0:
            break
        end = begin
    return end


def _rfind(descriptor: int, byte: bytes, begin: int, end: int) -> int:
    """Return the offset of the last such byte from `begin` to before `end`, -1 where there is none."""
    while begin < end:
        block = max(begin, end - _BLOCK)
        found = os.pread(descriptor, end - block, block).rfind(byte)
        if found >= 0:
            return block + found
        end = block
    return -1
