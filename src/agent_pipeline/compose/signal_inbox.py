"""Signals as bytes that one thread reads: they count even while the main thread is held up and can't handle them."""

import functools
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

_open: "list[SignalInbox]" = []


class SignalInbox:
    """Takes this process's signals from those who would obey them, and gives them to one thread; see `open_inbox`.

    Python calls its handlers in the main thread between two instructions, which may be never. What it does at once, in
    whatever code it is, is to write the signal's number to the wake-up descriptor; that is what is read here.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.settimeout(0)
        self._handlers: dict[int, Any] = {}
        self._descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in TAKEN:
            # Who starts a command with nohup wants it to outlive its terminal.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, _do_nothing)

    def wait(self, timeout: float) -> list[str]:
        """Return the names of signals that came, as soon as there are any; none after `timeout` seconds.

        Signals whose handler somebody else has replaced since are theirs.
        """
        self._reader.settimeout(timeout)
        try:
            numbers = self._reader.recv(64)
        except TimeoutError:
            return []
        return [
            signal.Signals(number).name
            for number in numbers
            if number in self._handlers and signal.getsignal(number) is _do_nothing
        ]

    def wake(self) -> None:
        """Let `wait` return at once."""
        self._writer.send(b"\0")

    def close(self) -> None:
        """Give the signals back; in the main thread."""
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._close(self._descriptor)

    def abandon(self) -> None:
        """Be of no account in a process that was forked."""
        for number in self._handlers:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
        self._close(-1)

    def _close(self, descriptor: int) -> None:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        self._reader.close()
        self._writer.close()


@contextmanager
def open_inbox() -> Generator[SignalInbox]:
    """Take the signals inside the block; main thread only.

    A process that is forked inside it handles signals as any Python process does: they are its own, and nobody would
    read its bytes.
    """
    _abandon_in_forks()
    inbox = SignalInbox()
    _open.append(inbox)
    try:
        yield inbox
    finally:
        _open.remove(inbox)
        inbox.close()


@functools.cache
def _abandon_in_forks() -> None:
    os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    while _open:
        _open.pop().abandon()


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Stand where a handler has to be, so that the signal is neither ignored nor deadly."""
