"""Who is told of changes: one after the other, in the order of the changes, and none kept from it by another."""

import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from agent_pipeline.config.typed_values import Change

Changes = Mapping[str, Change]
Subscriber = Callable[[Changes], object]

_logger = logging.getLogger("agent_pipeline.live_values")


class _Subscription:
    """One subscriber, once; the same function may subscribe twice."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber


class Subscribers:
    """Those who are told, and what they are still to be told; may be used by any thread.

    Attributes:
        failures: how often one of them raised.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._lock = threading.Lock()
        self._subscriptions: list[_Subscription] = []
        self._untold: deque[tuple[Changes, tuple[_Subscription, ...]]] = deque()
        self._is_telling = False

    def add(self, subscriber: Subscriber, first: Changes | None = None) -> Callable[[], None]:
        """Add one, and return what takes it away again, at any time and any number of times.

        Args:
            subscriber: a plain function.
            first: what it alone is to be told before anything else.

        Raises:
            TypeError: it is an async function, which nobody would await.
        """
        if any(inspect.iscoroutinefunction(one) for one in (subscriber, type(subscriber).__call__)):
            raise TypeError("a subscriber is a plain function; let it set an event, or start a task of yours")
        subscription = _Subscription(subscriber)
        with self._lock:
            self._subscriptions.append(subscription)
            if first is not None:
                self._untold.append((first, (subscription,)))

        def remove() -> None:
            with self._lock:
                if subscription in self._subscriptions:
                    self._subscriptions.remove(subscription)

        return remove

    def put(self, changes: Changes) -> None:
        """Note changes for those who subscribe now; in the order in which they are put, `tell` tells of them."""
        with self._lock:
            if changes and self._subscriptions:
                self._untold.append((MappingProxyType(dict(changes)), tuple(self._subscriptions)))

    def tell(self) -> None:
        """Tell of what was put. Where that is going on already, in this thread or another, it is left to that one.

        A subscriber that raises is logged and counted. What ends the process (`KeyboardInterrupt`) goes through; what
        is untold then is told with the next change.
        """
        with self._lock:
            if self._is_telling:
                return
            self._is_telling = True
        try:
            while (following := self._next()) is not None:
                changes, subscriptions = following
                for subscription in subscriptions:
                    self._tell_one(subscription, changes)
        except BaseException:
            with self._lock:
                self._is_telling = False
            raise

    def _next(self) -> tuple[Changes, tuple[_Subscription, ...]] | None:
        with self._lock:
            if self._untold:
                return self._untold.popleft()
            # In the same breath as the look, so that no other thread leaves to us what we don't see any more.
            self._is_telling = False
            return None

    def _tell_one(self, subscription: _Subscription, changes: Changes) -> None:
        with self._lock:
            if subscription not in self._subscriptions:
                return
        try:
            subscription.subscriber(changes)
        except Exception:
            with self._lock:
                self.failures += 1
            _logger.exception("a subscriber failed on a change of %s; the others are told", ", ".join(changes))
