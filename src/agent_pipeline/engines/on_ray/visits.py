"""Which threads of ours are inside Ray: who leaves it waits for them, since Ray ends a process that asks after that."""

import threading
from collections.abc import Callable


class Visits:
    """Threads that call Ray, each from its beginning to its end, so that what it holds of Ray is gone with it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0

    def begin(self, name: str, visit: Callable[[], None]) -> None:
        """Call this in a thread of its own, which nobody waits for when the process ends."""
        with self._changed:
            self._under_way += 1
        threading.Thread(target=self._make, args=(visit,), name=name, daemon=True).start()

    def wait_over(self) -> None:
        """Block until none is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def _make(self, visit: Callable[[], None]) -> None:
        try:
            visit()
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()
