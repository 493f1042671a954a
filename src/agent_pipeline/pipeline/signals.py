"""SIGINT and SIGTERM become a stop of the run, so that every `finally` runs and every sink is flushed."""

import signal

import trio

from agent_pipeline.pipeline.admission import Stop

EXIT_CODES = {"signal:SIGINT": 130, "signal:SIGTERM": 143}


async def stop_on_signals(stop: Stop, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Cancel the run's documents on each signal; runs until cancelled, in the main thread only.

    Used together with `trio.run(..., restrict_keyboard_interrupt_to_checkpoints=True)`: without both, a
    KeyboardInterrupt inside a document's loop can hang the process (trio-asyncio issues 88 and 118).
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for number in received:
            name = signal.Signals(number).name
            stop.request(f"signal:{name}", f"{name} received; cancelling documents in flight", cancel=True)
