"""A file that only grows by whole lines, private to its owner, and a sink made of one."""

import os
from collections.abc import Callable
from pathlib import Path

from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY, Redactor
from agent_pipeline.telemetry.sink import LinesLostError


def create_file(path: Path) -> int:
    """Create a new file for appending (0600) and the folders above it (0700); return its descriptor.

    Raises:
        FileExistsError: something is there already; it is left alone.
        OSError: the folder or file can't be made.
    """
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


class LineFile:
    """Lines wait in memory until `flush`, which hands them to the kernel in one write.

    A write that fails in the middle of a line takes that line back, so that what follows starts on a line of its own.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._size = 0
        self._torn = False

    def add(self, line: str) -> None:
        """Put a line (without its newline) in the buffer."""
        self._lines.append(line)

    def flush(self) -> None:
        """Write the buffer; it is empty afterwards in any case.

        Raises:
            LinesLostError: some could not be written, the earlier ones are.
        """
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        # Half a surrogate pair has no UTF-8; \udcXX is what JSON and our quoting write for it.
        data = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError as error:
            whole = data.rfind(b"\n", 0, written) + 1
            lost = data.count(b"\n", max(whole, 1 if self._torn else 0))
            self._take_back(whole, written)
            raise LinesLostError(lost, error) from error
        self._size += written
        self._torn = False

    def _take_back(self, whole: int, written: int) -> None:
        self._torn = self._torn and whole == 0
        self._size += whole
        if written > whole:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError:
                # Not a regular file: the torn line stays, and the next flush begins with a newline.
                self._torn = True
                self._size += written - whole

    def close(self) -> None:
        """Write what is left and close the descriptor, also when the writing fails."""
        try:
            self.flush()
        finally:
            os.close(self._descriptor)


class LineSink:
    """A sink's file: created by `start`, so that a run that can't log says so before it begins.

    Args:
        path: must not exist; folders above it are made.
        redactor: applied to every text before it becomes part of a line.
        create: how the file comes to be.
    """

    def __init__(
        self, path: Path, *, redactor: Redactor = PATTERNS_ONLY, create: Callable[[Path], int] = create_file
    ) -> None:
        self.path = path
        self._redactor = redactor
        self._create = create
        self._file: LineFile | None = None

    def start(self, _emit: Emit, /) -> None:
        """Create the file."""
        self._file = LineFile(self._create(self.path))

    def write(self, line: str) -> None:
        """Add one line to what the next flush writes."""
        if self._file is None:
            message = f"{self.path} is not open"
            raise ValueError(message)
        self._file.add(line)

    def flush(self) -> None:
        """Write what waits."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def stop(self) -> None:
        """Nothing: a file that a stuck write holds can't be closed under it."""
