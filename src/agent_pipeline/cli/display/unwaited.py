"""A channel that nobody waits for: a terminal that was stopped, or a slow reader, holds nothing but its own thread."""

import os
import threading
from collections import deque
from collections.abc import Callable

from agent_pipeline.cli.output import Channel

MOST_WAITING = 1_000_000
"""Characters that wait for a reader: an hour of plain lines, some thousand lines of the log."""

PATIENCE = 2.0
"""Seconds that what still waits has at the end, for a reader that reads."""


class Unwaited(Channel):
    """Writes in a thread of its own, which begins with the first text.

    Where the reader is too slow the oldest texts are left out: what a display said long ago matters least, and its
    last picture gives the cursor back.

    Args:
        channel: to write to, by a descriptor of its own where it is a file.
        mention: says in the place of texts that were left out how many they were; None says nothing.
    """

    def __init__(self, channel: Channel, *, mention: Callable[[int], str] | None = None) -> None:
        self._channel = channel
        self._mention = mention
        self._waiting: deque[str] = deque()
        self._size = 0
        self._left_out = 0
        self._is_ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._drive, name="display writer", daemon=True)

    def write(self, text: str) -> int:
        """Take a text; never waits. After the end it goes nowhere."""
        with self._change:
            if text and not self._is_ended:
                self._waiting.append(text)
                self._size += len(text)
                while self._size > MOST_WAITING and len(self._waiting) > 1:
                    self._size -= len(self._waiting.popleft())
                    self._left_out += 1
                if self._thread.ident is None:
                    self._thread.start()
                self._change.notify()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        """Write what waits, within the patience; what is not written by then may come when the reader reads again."""
        with self._change:
            self._is_ended = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)

    def isatty(self) -> bool:
        """Say whether a terminal reads."""
        return self._channel.isatty()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._channel.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._channel.encoding

    def _drive(self) -> None:
        channel = _own(self._channel)
        while text := self._next():
            channel.write(text)
            channel.flush()
        channel.end()

    def _next(self) -> str:
        """Wait for what is to be written; an empty text is the end."""
        with self._change:
            while not self._waiting and not self._is_ended:
                self._change.wait()
            text = "".join(self._waiting)
            self._waiting.clear()
            left_out, self._size, self._left_out = self._left_out, 0, 0
        return self._mention(left_out) + text if left_out and self._mention is not None else text


class _OwnChannel(Channel):
    """A channel whose stream is nobody else's, and is closed at its end."""

    def end(self) -> None:
        """Hand over what was written, and close the stream."""
        self.flush()
        try:
            self._stream.close()
        except (OSError, ValueError) as exc:
            self._give_up(exc)


def _own(channel: Channel) -> Channel:
    """Return a channel to the same file: a thread that hangs in it must not hold the lock of a stream of others."""
    try:
        descriptor = os.dup(channel.fileno())
    except (OSError, ValueError):
        return channel  # to no file
    return _OwnChannel(os.fdopen(descriptor, "w", encoding=channel.encoding, errors="backslashreplace"))
