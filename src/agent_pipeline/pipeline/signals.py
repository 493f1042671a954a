"""Signals become a stop of the run, in steps, so that every `finally` runs and every sink is flushed."""

import math

import trio

from agent_pipeline.domain.events import RunStopping
from agent_pipeline.pipeline.admission import Stop

EXIT_CODES = {"signal:SIGHUP": 129, "signal:SIGINT": 130, "signal:SIGTERM": 143}

LEAVE_AT = 3
"""Signals until the process leaves without waiting for anything."""


async def stop_on_signals(
    stop: Stop,
    received: trio.MemoryReceiveChannel[str],
    *,
    grace: float | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Stop the run in steps, one per signal; a task beside the documents, until they are cancelled.

    The first signal ends admission. A second, or `grace` seconds after the first, cancels the documents in flight. The
    third is for whoever reads signals without Trio, which may never run this task again.

    Args:
        stop: of the run.
        received: names such as `SIGINT`, as they come; what waits there already is obeyed before the task has started.
        grace: None never ends.
        task_status: as Trio has it.
    """
    waiting = received.statistics().current_buffer_used
    if not waiting:
        task_status.started()
    _drain(stop, await received.receive(), grace)
    if waiting:
        task_status.started()
    reason = "deadline:grace"
    with trio.move_on_after(math.inf if grace is None else grace):
        reason = f"signal:{await received.receive()}"
    stop.cancel(reason)


def _drain(stop: Stop, name: str, grace: float | None) -> None:
    """Admit no more; said also where the run was stopping already, for whoever waits for an answer to Ctrl-C."""
    within = "" if grace is None else f" within {grace:g} s"
    again = "Ctrl-C again" if name == "SIGINT" else "another signal"
    detail = f"{name} received; no new documents, those in flight may finish{within}"
    further = f"{again} cancels them, a third leaves at once"
    if stop.cancelling.is_set():
        detail, further = f"{name} received; documents in flight are being cancelled", "a third signal leaves at once"
    if stop.reason is None:
        stop.request(f"signal:{name}", detail, cancel=False, further=further)
    else:
        stop.emit(RunStopping(f"signal:{name}", detail, further))
