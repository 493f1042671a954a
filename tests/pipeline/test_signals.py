"""Signals become a stop of the run."""

import os
import signal

import pytest
import trio

from agent_pipeline.domain.events import Event, RunStopping
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.signals import EXIT_CODES, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_cancels_the_documents(number: signal.Signals) -> None:
    """And nothing else; the reason says which, for the exit code."""
    events: list[Event] = []
    stop = Stop(events.append, trio.CancelScope())
    before = signal.getsignal(number)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(stop_on_signals, stop)
            with stop.scope:
                os.kill(os.getpid(), number)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    assert stop.scope.cancelled_caught
    assert stop.reason == f"signal:{number.name}"
    assert EXIT_CODES[stop.reason] == 128 + number
    assert [event.reason for event in events if isinstance(event, RunStopping)] == [stop.reason]
    assert signal.getsignal(number) is before


async def test_second_signal_changes_nothing() -> None:
    """An impatient user gets the same orderly end."""
    events: list[Event] = []
    stop = Stop(events.append, trio.CancelScope())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(stop_on_signals, stop)
            with stop.scope:
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep_forever()
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    assert stop.reason == "signal:SIGINT"
    assert len(events) == 1
