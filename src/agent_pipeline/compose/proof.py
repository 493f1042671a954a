"""The proof that a run closed what it opened: pairs for the manifest, and names of what is still open."""

import logging
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, OK
from agent_pipeline.domain.result import RunResult

Pair = dict[str, int]
"""`{"opened": 3, "closed": 3}`."""

_Descriptor = tuple[int, int, int]
"""Number, device and inode: a number alone is soon used again."""

_IDLE_WORKER = "Trio thread"
"""Name of a thread that Trio keeps for its next job, for ten seconds; while it has one it is called otherwise."""

_DESCRIPTORS = Path("/dev/fd")


@dataclass(frozen=True, slots=True)
class Resources:
    """What was opened and closed during a run.

    Attributes:
        pairs: by kind; None where nobody can tell.
        left_open: one line for each kind or thing that is still open.
    """

    pairs: Mapping[str, Pair | None]
    left_open: tuple[str, ...]


class ShutdownProof:
    """Compares the process before a run opens anything, at the end of its work, and after it closed everything.

    Loops, tasks and connections are counted one by one where they are made. Threads, log handlers and file descriptors
    belong to the whole process: `opened` are those that were there at the end of the work or after closing but not
    before, `closed` those of them that are gone. A host that opens things of its own meanwhile is counted as well;
    where another run overlapped, or a library works beside it that keeps such things, nothing is said of these three.
    Nor of loops, tasks and connections where other processes worked on the documents, and had all of them.
    """

    def __init__(self) -> None:
        self.overlapped = False
        self.is_spread = False
        self._before = _Process.look()
        self._at_work = self._before

    def note_work(self) -> None:
        """Look at what is open now; called when the documents have ended and nothing is closed yet."""
        self._at_work = _Process.look()

    def conclude(self, runtime: Runtime) -> Resources:
        """Return what is to be said of the run; called when all is closed but its directory, which is its lock."""
        counted = _counted(runtime)
        pairs: dict[str, Pair | None] = {
            kind: None if self.is_spread else {"opened": opened, "closed": closed}
            for kind, (opened, closed) in counted.items()
        }
        left = [
            f"{opened - closed} of {opened} {kind}" for kind, (opened, closed) in counted.items() if opened != closed
        ]
        kept = runtime.records.directory.path
        before, work, after = (one.things(kept) for one in (self._before, self._at_work, _Process.look()))
        for kind, names in after.items():
            opened = (work[kind].keys() | names.keys()) - before[kind].keys()
            still = [name for key, name in names.items() if key in opened]
            pairs[kind] = None if self.overlapped else {"opened": len(opened), "closed": len(opened) - len(still)}
            left += [] if self.overlapped else sorted(still)
        return Resources(pairs, tuple(left))


_going_on: list[ShutdownProof] = []


@contextmanager
def shutdown_proof() -> Generator[ShutdownProof]:
    """Open the proof of a run; everything the run opens must be opened and closed inside the block."""
    proof = ShutdownProof()
    _going_on.append(proof)
    if len(_going_on) > 1:
        for one in _going_on:
            one.overlapped = True
    try:
        yield proof
    finally:
        _going_on.remove(proof)


def _counted(runtime: Runtime) -> dict[str, tuple[int, int]]:
    """Return opened and closed of what is counted where it is made."""
    bridge, connections = runtime.bridge, runtime.pool.connections
    return {
        "loops": (bridge.loops_opened, bridge.loops_closed),
        "tasks": (bridge.tasks.opened, bridge.tasks.closed),
        "connections": (connections.opened, connections.closed),
    }


def with_proof(result: RunResult, resources: Resources, *, strict: bool) -> RunResult:
    """Return the result with what was left open; under `strict` that is no plain success."""
    result = replace(result, left_open=resources.left_open)
    if strict and resources.left_open and result.exit_code == OK:
        return replace(result, exit_code=DOCUMENTS_FAILED, reason="shutdown_leak")
    return result


@dataclass(frozen=True, slots=True)
class _Process:
    """What the process holds at one instant; by kind, what tells one from another, and its name for people."""

    threads: Mapping[object, str]
    handlers: Mapping[object, str]
    descriptors: Mapping[_Descriptor, str]

    @classmethod
    def look(cls) -> "_Process":
        """Look at the process as it is now."""
        return cls(_threads(), _handlers(), _descriptors())

    def things(self, kept: Path) -> Mapping[str, Mapping[object, str]]:
        """Return all of it by kind, without descriptors of the directory `kept`."""
        place = _place(kept)
        descriptors: dict[object, str] = {key: name for key, name in self.descriptors.items() if key[1:] != place}
        return {"threads": self.threads, "handlers": self.handlers, "file_descriptors": descriptors}


def _threads() -> dict[object, str]:
    return {
        thread: f"thread {thread.name!r}"
        for thread in threading.enumerate()
        if not thread.name.startswith(_IDLE_WORKER)
    }


def _handlers() -> dict[object, str]:
    named = {name: one for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {
        (name, handler): f"handler {type(handler).__name__} of the logger {name!r}"
        for name, logger in {"root": logging.root, **named}.items()
        for handler in logger.handlers
    }


def _descriptors() -> dict[_Descriptor, str]:
    """Return the open descriptors."""
    found: dict[_Descriptor, str] = {}
    for entry in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else ():
        try:
            number = int(entry.name)
            state = os.fstat(number)
        except OSError:
            continue  # of the listing itself, gone by now
        try:
            target = str(entry.readlink())
        except OSError:
            target = f"inode {state.st_ino}"  # where descriptors are no links (macOS)
        found[number, state.st_dev, state.st_ino] = f"file descriptor {number} ({target})"
    return found


def _place(directory: Path) -> tuple[int, int] | None:
    try:
        state = directory.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
