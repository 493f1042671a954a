"""Task trees as files of a run, for whoever wants to know what it waits for."""

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from agent_pipeline.domain.events import TaskTreeWritten
from agent_pipeline.domain.ports import Emit

MOST = 20
"""Trees one session writes: whatever asks for them again and again must not fill the disk."""


class TaskTrees:
    """Writes `tree-NNN.txt`, mode 0600, into a folder of its own; from any thread.

    Args:
        folder: made when needed, mode 0700.
        draw: returns the tree.
        emit: is told of each.
        clean: takes secrets out.

    Attributes:
        left_out: trees that were asked for beyond the most.
    """

    def __init__(self, folder: Path, *, draw: Callable[[], str], emit: Emit, clean: Callable[[str], str] = str) -> None:
        self.left_out = 0
        self._folder = folder
        self._draw = draw
        self._emit = emit
        self._clean = clean
        self._written = 0
        self._lock = threading.Lock()

    def write(self, reason: str) -> None:
        """Write a tree and tell where it is.

        Where the disk takes none there is none: a tree is worth no run. What the disk refuses of ledger and logs is
        told by them.
        """
        with self._lock:
            if self._written >= MOST:
                self.left_out += 1
                return
            self._written += 1
        try:
            tree = self._draw()
        except Exception as exc:  # noqa: BLE001 - looking must not harm what is looked at
            tree = f"it could not be drawn: {type(exc).__name__}: {exc}\n"
        text = self._clean(f"{reason}\n{datetime.now(UTC).isoformat(timespec='milliseconds')}\n\n{tree}")
        try:
            path = self._create(text.encode(errors="backslashreplace"))
        except OSError:
            return
        self._emit(TaskTreeWritten(reason, str(path)))

    def _create(self, content: bytes) -> Path:
        """Write a file of the first free number; earlier sessions have left theirs."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for number in count(1):
            path = self._folder / f"tree-{number:03}.txt"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            return path
        raise AssertionError("numbers don't end")
