"""Whether the cluster still answers: where it does not, Ray itself waits for a place for a worker without end."""

import threading
import time

from agent_pipeline.engines.on_ray.library import load_ray
from agent_pipeline.engines.on_ray.visits import Visits

PERIOD = 3.0
SILENCE = 20.0
"""Seconds without an answer from the cluster's head after which it counts as lost."""


class Pulse:
    """Asks the cluster every few seconds, in a thread: a question to a head that is gone does not come back."""

    def __init__(self, visits: Visits) -> None:
        self._answered_at = time.monotonic()
        self._has_node = True
        self._over = threading.Event()
        visits.begin("pulse of Ray", self._ask)

    def why_lost(self) -> str | None:
        """Return why no worker can be placed any more; None while the cluster answers."""
        if not self._has_node:
            return "this machine is no part of the Ray cluster any more"
        if time.monotonic() - self._answered_at > SILENCE:
            return f"the head of the Ray cluster has not answered for {SILENCE:g} s"
        return None

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _ask(self) -> None:
        ray = load_ray()
        try:
            here = ray.get_runtime_context().get_node_id()
            while not self._over.wait(PERIOD):
                self._has_node = any(node["Alive"] and node["NodeID"] == here for node in ray.nodes())
                self._answered_at = time.monotonic()
        except Exception:  # noqa: BLE001 - no answer is told by its age, whatever Ray raises
            return
