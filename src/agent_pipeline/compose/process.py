"""What a command does to its own process before a run: file descriptors, garbage collection, log records."""

import gc
import logging
import resource

DESCRIPTORS_PER_DOCUMENT = 1
"""For what a stage opens itself; what a document's asyncio loop holds comes on top."""

MOST_PER_LOOP = 2
"""Descriptors that trio-asyncio's own loops hold; lighter ones, where they can be used, hold none."""

_DESCRIPTORS_FOR_US = 96  # files of the run, the interpreter, and artifacts written together


def raise_descriptor_limit() -> None:
    """Raise the soft limit on open files as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def documents_that_fit(wanted: int, *, connections: int, per_loop: int) -> int:
    """Return how many documents can be in flight under the soft limit on open files, at least 1.

    Args:
        wanted: as configured.
        connections: open at once, at both ends where both are in this process.
        per_loop: what a document's asyncio loop holds while it is open.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = documents_under(soft, connections=connections, per_loop=per_loop)
    return wanted if room is None else min(wanted, room)


def documents_under(descriptors: int, *, connections: int, per_loop: int) -> int | None:
    """Return how many documents a limit on open files allows, at least 1; None where there is no limit."""
    if descriptors == resource.RLIM_INFINITY:
        return None
    room = descriptors - _DESCRIPTORS_FOR_US - connections
    return max(1, room // (DESCRIPTORS_PER_DOCUMENT + per_loop))


def descriptor_limits() -> tuple[int, int]:
    """Return the soft and the hard limit on open files; a run raises the first to the second."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def tune_garbage_collector() -> None:
    """Leave what is imported out of collections, and collect less often.

    A run makes many short-lived objects and few cycles; measured to save about a fifth of a document's CPU. For
    commands only: a library must not decide this for its host.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def slim_log_records() -> None:
    """Leave out of log records what no sink of ours shows: caller, thread, process, task.

    The SDK writes a dozen DEBUG records per agent run; see "Optimization" in Python's logging how-to. For commands
    only, like the collector.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.__dict__["logAsyncioTasks"] = False  # since Python 3.12
    logging.__dict__["_srcfile"] = None
