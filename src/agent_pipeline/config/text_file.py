"""Read one small UTF-8 text file, or say what is wrong with it and where; replace it in one step."""

import os
import secrets
import stat
from pathlib import Path

from agent_pipeline.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
"""Size cap of every file read here; a config of a megabyte is a mistake, not a config."""


def read_text_file(path: Path) -> str:
    """Read a regular UTF-8 file of at most `MAX_FILE_BYTES`; a byte order mark is dropped, line ends are kept.

    Raises:
        ConfigError: the file is missing, unreadable, not regular, too large or not UTF-8.
    """
    data = _read_capped(path)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
        line = before.count(b"\n") + 1
        column = exc.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError("the file is not UTF-8 text", place=f"{path}:{line}:{column}") from None


def _read_capped(path: Path) -> bytes:
    try:
        # Non-blocking, because opening a FIFO that nobody writes to would hang before it could be refused.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise ConfigError("no such file", place=str(path)) from None
    except OSError as exc:
        raise ConfigError(f"the file can't be opened: {exc.strerror}", place=str(path)) from exc
    except ValueError as exc:
        raise ConfigError("not a usable file name", place=repr(str(path))) from exc
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("not a regular file", place=str(path))
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"the file can't be read: {exc.strerror}", place=str(path)) from exc
    finally:
        os.close(descriptor)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"the file is larger than {MAX_FILE_BYTES} bytes", place=str(path))
    return data


def replace_text_file(path: Path, text: str) -> None:
    """Put another text in the place of a file's, in one step and with the same permissions; a link stays a link.

    Raises:
        ConfigError: it can't be written; the file is as it was.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            with temporary.open("x", encoding="utf-8", newline="") as file:
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"the file can't be written: {exc.strerror or exc}", place=str(path)) from exc
