"""Pauses of lanes, as observers see them."""

from collections.abc import Callable

import trio

from agent_pipeline.batch.events import BatchEvent, CooldownEnded, CooldownStarted
from agent_pipeline.control.gate import Gate


class CooldownWatch:
    """Tells when the pause of a lane begins and ends; the gate decides both.

    Args:
        gate: whose lanes these are.
        emit: takes events.
    """

    def __init__(self, gate: Gate, emit: Callable[[BatchEvent], None]) -> None:
        self._gate = gate
        self._emit = emit
        self._watched: set[tuple[str, str]] = set()

    async def tell(self, lane: tuple[str, str]) -> None:
        """Tell of one pause and its end, in a task begun at a 429; it runs after the gate has set the pause."""
        if lane in self._watched:
            return
        self._watched.add(lane)
        is_told = False
        try:
            while (left := self._gate.statistics().lanes[lane].cooldown) > 0:
                if not is_told:
                    self._emit(CooldownStarted(lane[0], left))
                is_told = True
                await trio.sleep(left)
            if is_told:
                self._emit(CooldownEnded(lane[0]))
        finally:
            self._watched.discard(lane)
