"""What one run is told beyond its config file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.telemetry import Sink

if TYPE_CHECKING:
    from agent_pipeline.engines.link import OpenWorker
    from agent_pipeline.gateway import ConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; everything has a default.

    Attributes:
        limit: documents taken from the source; None takes all.
        only: names of the stages to run; empty runs all.
        skip: names of stages left out.
        offline: use the embedded simulator instead of every provider.
        clean: remove artifacts that earlier runs wrote, before this one.
        fail_on_error: failed documents that still count as success: a number, a fraction of all, or `never` count.
        own_process: the process is this run's own: take its signals, leave it where tasks don't end, raise the
            file-descriptor limit, tune the garbage collector. For commands, in the main thread.
        strict_shutdown: a run that leaves something open is no success, though all documents are.
        stall_after: seconds for which nothing ran in Trio until it is told what holds it; of a process of its own.
        include_texts: let prompts and answers into traces and the SDK's log.
        sinks: more sinks, a display for example.
        on_snapshot: given the run's state four times a second, under Trio; must not block or raise.
        faults: of the embedded simulator, as in a faults file.
        virtual: write files without threads, for a virtual clock.
        make_pool: another way to the providers than sockets, for a virtual clock.
        open_worker: another way to workers than Ray, where the engine has workers; for a virtual clock.
        keeps_logs: write run log, events, reviews and the SDK's traces and log; without them `sinks` are all there is.
        seed: of jitter and of the embedded simulator.
        record: directory in which every exchange with a provider is recorded, texts and all; a new or empty one.
        replay: directory of a recording that answers in the place of every provider: no key, no network. In virtual
            time answers take as long as they took, else they come at once.
        run: goes on with this run, instead of beginning one.
        retry_failed: going on, work on documents again that failed.
    """

    limit: int | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    offline: bool = False
    clean: bool = False
    fail_on_error: int | float | Literal["never"] = 0
    own_process: bool = False
    strict_shutdown: bool = False
    stall_after: float = 5.0
    include_texts: bool = False
    sinks: tuple[Sink, ...] = ()
    on_snapshot: Callable[[RunSnapshot], None] | None = None
    faults: str | None = None
    virtual: bool = False
    make_pool: "Callable[[], ConnectionPool] | None" = None
    open_worker: "OpenWorker | None" = None
    keeps_logs: bool = True
    seed: int | None = None
    record: str | None = None
    replay: str | None = None
    run: RunDirectory | None = None
    retry_failed: bool = False
