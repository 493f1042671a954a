"""Opening what a source names: regular files only, never waiting for a pipe, never more bytes than asked for."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from agent_pipeline.errors import DocumentInvalidError, InputError

BOM = "\ufeff"

ReadLine = Callable[[int], bytes]
"""Return the next line with its newline, at most that many bytes of it; empty at the end."""

_CHUNK_BYTES = 64 * 1024


def open_named(path: Path) -> BinaryIO:
    """Open the file a user named as source; a symbolic link to a regular file is fine here.

    Raises:
        InputError: there is none, it can't be read, or it is no regular file.
    """
    try:
        return _open(path, 0)
    except FileNotFoundError as exc:
        raise InputError(f"{path}: the source does not exist") from exc
    except OSError as exc:
        raise InputError(f"{path}: the source can't be read: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL, or half a character
        raise InputError(f"{str(path)!r} is not a usable path: {exc}") from exc
    except _NotRegularError as exc:
        raise InputError(
            f"{path}: the source is not a regular file ({exc}); to read from a pipe, use - and stdin"
        ) from exc


def is_folder(path: Path) -> bool:
    """Say whether a path is that of a folder; one that can't be looked at is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name no file can have, a folder on the way that may not be searched
        return False


def read_document(path: Path, limit_bytes: int) -> str:
    """Read a text that was found by a glob or in a folder, where links are not followed.

    Raises:
        DocumentInvalidError: no regular file, too large, not UTF-8, or unreadable.
    """
    content = read_content(path, limit_bytes)
    try:
        return decode(content)
    except UnicodeDecodeError as exc:
        raise DocumentInvalidError(f"{path}: not UTF-8 text (byte {exc.start})") from exc


def read_content(path: Path, limit_bytes: int) -> bytes:
    """Read the bytes of such a file.

    Raises:
        DocumentInvalidError: no regular file, too large, or unreadable.
    """
    try:
        with _open(path, os.O_NOFOLLOW) as file:
            is_too_large = os.fstat(file.fileno()).st_size > limit_bytes
            # The size may be a lie (/proc), or grow: no more than the limit is read in any case.
            content = b"" if is_too_large else file.read(limit_bytes + 1)
    except OSError as exc:
        problem = "a symbolic link, which is not followed" if path.is_symlink() else exc.strerror or str(exc)
        raise DocumentInvalidError(f"{path}: the document can't be read: {problem}") from exc
    except _NotRegularError as exc:
        raise DocumentInvalidError(f"{path}: not a regular file ({exc})") from exc
    except ValueError as exc:
        raise DocumentInvalidError(f"{path}: the name can't be opened: {exc}") from exc
    if is_too_large or len(content) > limit_bytes:
        raise DocumentInvalidError(f"{path}: the document has more than {limit_bytes} bytes")
    return content


def decode(content: bytes) -> str:
    """Decode UTF-8, without the byte order mark some editors put first."""
    return content.decode("utf-8").removeprefix(BOM)


class UnbufferedLines:
    """Lines of a pipe or terminal, read as they come.

    A buffered file would be locked by the thread that waits in it, and the interpreter could not end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Remember how to read: at most that many bytes, whatever is there, empty at the end."""
        self._read = read
        self._buffer = bytearray()
        self._searched = 0

    def __call__(self, limit: int) -> bytes:
        """Return the next line, at most `limit` bytes of it; empty at the end."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0 or len(self._buffer) >= limit:
                return self._take(min(end + 1, limit) if end >= 0 else limit)
            self._searched = len(self._buffer)
            chunk = self._read(_CHUNK_BYTES)
            if not chunk:
                return self._take(len(self._buffer))
            self._buffer += chunk

    def _take(self, size: int) -> bytes:
        with memoryview(self._buffer) as whole:
            taken = bytes(whole[:size])
        del self._buffer[:size]
        self._searched = 0
        return taken


class _NotRegularError(Exception):
    """What was opened is a folder, a pipe, a device or a socket."""


def _open(path: Path, flags: int) -> BinaryIO:
    # O_NONBLOCK: opening a pipe without a writer would wait forever, before its kind could be looked at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        _check_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise _NotRegularError(kinds.get(stat.S_IFMT(mode), "a device"))
