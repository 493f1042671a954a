"""The actor: one worker process of a run, whose reports stream out while commands come in beside them."""

import os
import pickle
import pkgutil
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent_pipeline.engines.link import WorkerMain
from agent_pipeline.engines.messages import WorkerPlan
from agent_pipeline.engines.on_ray.packing import pack
from agent_pipeline.engines.on_ray.worker_thread import WorkerThread

CONTROL = "control"
"""The concurrency group of commands: one thread, so that they come in order while `run` streams in another."""


class Hello(NamedTuple):
    """The first word of a worker's process, before anything of the pipeline is imported.

    Attributes:
        room: where its number is of any use: this start of this machine, and a namespace of processes in it.
    """

    pid: int
    room: str


class WorkerFailedError(Exception):
    """The worker's main function raised what it should not have; in words, since its objects may not travel."""


def process_room() -> str:
    """Return what two processes have in common that can see each other's numbers; empty where it is not known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


class PipelineWorker:
    """What Ray makes an actor of; `run` is called once."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._worker: WorkerThread | None = None

    def run(self, main: str, packed: bytes) -> Iterator[bytes]:
        """Yield a `Hello`, then batches of reports, pickled, until the worker has ended.

        Args:
            main: the worker's main function as `module:function`.
            packed: its plan, pickled.

        Raises:
            WorkerFailedError: it ended by an error nobody foresaw; its traceback is in Ray's log of this process.
        """
        yield pickle.dumps(Hello(os.getpid(), process_room()))
        try:
            plan: WorkerPlan = pickle.loads(packed)  # noqa: S301 - from the driver, which may run code here anyway
            function: WorkerMain = pkgutil.resolve_name(main)
            self._worker = WorkerThread(function, plan)
            self._begun.set()
            for reports in self._worker.batches():
                yield pack(reports)
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: BLE001 - also what a stage may raise to leave the process: Ray need not know
            traceback.print_exception(exc, file=sys.stderr)
            first = _first_of(exc)
            raise WorkerFailedError(f"{type(first).__name__}: {first}") from None

    def command(self, packed: bytes) -> None:
        """Hand over a pickled command."""
        self._begun.wait()
        if self._worker is not None:
            self._worker.command(pickle.loads(packed))  # noqa: S301 - from the driver, see `run`


def _first_of(exc: BaseException) -> BaseException:
    """Return the error itself, or the first in a group of them."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
