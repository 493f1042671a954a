"""What a command does to its own process before a run: file descriptors, garbage collection, log records."""

import gc
import logging
import resource

DESCRIPTORS_PER_DOCUMENT = 1
"""For what a stage opens itself; what a document's asyncio loop holds comes on top."""

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
    if soft == resource.RLIM_INFINITY:
        return wanted
    room = soft - _DESCRIPTORS_FOR_US - connections
    return max(1, min(wanted, room // (DESCRIPTORS_PER_DOCUMENT + per_loop)))


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
