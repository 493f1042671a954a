"""A command as a process group: fed, read within bounds, and ended with its children whatever happens."""

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

DRAIN_TIMEOUT = 1.0
"""Seconds that output may still come after a command and its children have ended: from whoever left the group."""

STDERR_BYTES = 16_384
"""Of what a command complains, the end is kept."""

_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended.

    Attributes:
        exit_code: its exit status; minus the signal that ended it.
        stdout: all it wrote, or the beginning where `overflowed`.
        stderr: the end of what it wrote.
        overflowed: whether it wrote more than allowed.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    overflowed: bool


@asynccontextmanager
async def open_group(
    command: Sequence[str], *, environment: Mapping[str, str], directory: str | None, grace: float
) -> AsyncGenerator[trio.Process]:
    """Start a command in a process group of its own, with pipes to it.

    When the block ends, however it ends, the group gets SIGTERM, after `grace` seconds or the command's end SIGKILL,
    and the command is reaped, under a shield. What a child takes out of the group by a session of its own goes on.

    Raises:
        OSError: it can't be started; nothing is left.
    """
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=directory,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            await _end(process, grace)


async def feed_and_read(process: trio.Process, stdin: bytes, *, most_bytes: int) -> Finished:
    """Give a process its input and read it to its end; its children end with it.

    Once it has written more than `most_bytes` it is not read any further, and may go on.
    """
    output = _Output(most_bytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed, process, stdin)
        nursery.start_soon(output.read_stdout, process, nursery.cancel_scope)
        nursery.start_soon(output.read_stderr, process)
        await process.wait()
        _signal_group(process, signal.SIGKILL)  # whoever is left holds the pipes open
        nursery.cancel_scope.deadline = trio.current_time() + DRAIN_TIMEOUT
    return Finished(process.returncode or 0, bytes(output.stdout), bytes(output.stderr), output.overflowed)


class _Output:
    """What a command has written so far."""

    def __init__(self, most_bytes: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.overflowed = False
        self._most_bytes = most_bytes

    async def read_stdout(self, process: trio.Process, scope: trio.CancelScope) -> None:
        """Read to the end; more than allowed cancels `scope`."""
        stream = process.stdout
        while stream is not None and (chunk := await stream.receive_some(_CHUNK_BYTES)):
            self.stdout += chunk
            if len(self.stdout) > self._most_bytes:
                self.overflowed = True
                scope.cancel()
                return

    async def read_stderr(self, process: trio.Process) -> None:
        """Read to the end, keep the last of it."""
        stream = process.stderr
        while stream is not None and (chunk := await stream.receive_some(_CHUNK_BYTES)):
            self.stderr += chunk
            del self.stderr[:-STDERR_BYTES]


async def _feed(process: trio.Process, stdin: bytes) -> None:
    """Write all and close; a command that does not want it says by its end what that means."""
    stream = process.stdin
    if stream is None:
        return
    with suppress(trio.BrokenResourceError):
        await stream.send_all(stdin)
    await stream.aclose()


async def _end(process: trio.Process, grace: float) -> None:
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        with trio.move_on_after(grace):
            await process.wait()
    # Also where the command itself has ended: a group's number is nobody else's as long as one member lives.
    _signal_group(process, signal.SIGKILL)
    await process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone; or, on macOS, dead and not yet reaped
        os.killpg(process.pid, number)
