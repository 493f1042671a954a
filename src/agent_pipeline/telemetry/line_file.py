"""A file that only grows by whole lines, private to its owner, and a sink made of one."""

import os
from collections.abc import Callable
from pathlib import Path

from agent_pipeline.domain.events import FileRepaired
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry.opening import OpenFile, create_file
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY, Redactor
from agent_pipeline.telemetry.sink import LinesLostError


class LineFile:
    """Lines wait in memory until `flush`, which hands them to the kernel in one write.

    A write that fails in the middle of a line takes that line back, so that what follows starts on a line of its own.
    """

    def __init__(self, opened: OpenFile) -> None:
        self._descriptor = opened.descriptor
        self._size = opened.size
        self._lines: list[str] = []
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
        self._grow(written)
        self._torn = False

    def _grow(self, size: int) -> None:
        if self._size is not None:
            self._size += size

    def _take_back(self, whole: int, written: int) -> None:
        self._torn = self._torn and whole == 0
        self._grow(whole)
        if written > whole and not self._cut():
            # The torn line stays, and the next flush begins with a newline.
            self._torn = True
            self._grow(written - whole)

    def _cut(self) -> bool:
        """Cut the file to its whole lines; say whether that could be done."""
        if self._size is None:
            return False
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Write what is left and close the descriptor, also when the writing fails."""
        try:
            self.flush()
        finally:
            os.close(self._descriptor)


class LineSink:
    """A sink's file: opened by `start`, so that a run that can't log says so before it begins.

    Args:
        path: folders above it are made.
        redactor: applied to every text before it becomes part of a line.
        open_with: `create_file`, for which nothing may be there, or `continue_file`; what that cuts off is told as a
            `FileRepaired` event.
    """

    def __init__(
        self, path: Path, *, redactor: Redactor = PATTERNS_ONLY, open_with: Callable[[Path], OpenFile] = create_file
    ) -> None:
        self.path = path
        self._redactor = redactor
        self._open_with = open_with
        self._file: LineFile | None = None

    def start(self, emit: Emit, /) -> None:
        """Open the file."""
        opened = self._open_with(self.path)
        self._file = LineFile(opened)
        if opened.removed_bytes:
            emit(FileRepaired(str(self.path), opened.removed_bytes))

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
