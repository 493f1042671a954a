"""What a command does to its own process before a run: file descriptors, garbage collection, log records."""

import gc
import logging
import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager

DESCRIPTORS_PER_DOCUMENT = 2
"""A document's asyncio loop holds two while it is open."""

_DESCRIPTORS_FOR_US = 96  # files of the run, the interpreter, and artifacts written together


def raise_descriptor_limit() -> None:
    """Raise the soft limit on open files as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@contextmanager
def hold_signals() -> Generator[list[str]]:
    """Note the names of SIGINT and SIGTERM that come inside the block instead of obeying them; main thread only.

    Whoever opens or closes files in the block is never cut off half-way. A receiver of its own inside the block takes
    over as long as it is open.
    """
    held: list[str] = []
    before = {
        number: signal.signal(number, lambda got, _frame: held.append(signal.Signals(got).name))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def documents_that_fit(wanted: int, *, connections: int) -> int:
    """Return how many documents can be in flight under the soft limit on open files, at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - _DESCRIPTORS_FOR_US - connections) // DESCRIPTORS_PER_DOCUMENT))


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
