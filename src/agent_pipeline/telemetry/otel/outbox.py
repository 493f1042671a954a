"""A bounded queue to somebody slow, emptied by a thread of its own; what can't be delivered is counted."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

BATCH = 512
"""Things sent at once."""

BATCH_BYTES = 4 * 1024 * 1024
"""Bytes after which a batch goes, whatever it holds; servers take some 20 MiB."""

_GRACE = 0.5
"""Seconds more for the thread to end after its time is up."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Things that did not arrive, and why."""

    count: int
    why: str


class Outbox(Generic[T]):
    """Things on their way; `put` never waits.

    Args:
        deliver: takes a batch and the function that tells how many seconds are left for it; returns what was lost.
        name: of the thread.
        capacity: things that may wait.
        capacity_bytes: bytes that may wait.
        period: seconds after which a batch goes, though it is small.
        patience: seconds that `close` may take.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[T], Callable[[], float]], Loss | None],
        *,
        name: str,
        capacity: int = 16_384,
        capacity_bytes: int = 64 * 1024 * 1024,
        period: float = 1.0,
        patience: float = 5.0,
    ) -> None:
        self._deliver = deliver
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._period = period
        self._patience = patience
        self._waiting: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._in_hand = 0
        self._lost = 0
        self._why: str | None = None
        self._deadline = math.inf
        self._abandoned = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._drive, name=name, daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def put(self, thing: T, size: int) -> None:
        """Queue something of about `size` bytes; a full or closed queue loses it."""
        with self._change:
            if self._deadline < math.inf:
                self._lose(1, "it came after the end")
            elif len(self._waiting) >= self._capacity or self._bytes + size > self._capacity_bytes:
                self._lose(1, "more came than could be sent")
            else:
                self._waiting.append((thing, size))
                self._bytes += size
                if len(self._waiting) == 1 or self._is_full_batch():
                    self._change.notify()

    def take_loss(self) -> Loss | None:
        """Return what was lost since the last call, with the first reason there ever was."""
        with self._change:
            lost, self._lost = self._lost, 0
            return Loss(lost, self._why or "") if lost else None

    def close(self) -> None:
        """Deliver what waits and end the thread; what takes longer than the patience is lost, and the thread left."""
        with self._change:
            self._deadline = time.monotonic() + self._patience
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(self._patience + _GRACE)
        with self._change:
            self._abandoned = True
            self._lose(len(self._waiting) + self._in_hand, f"not sent within {self._patience:g} s of the end")
            self._waiting.clear()
            self._in_hand = 0

    def _drive(self) -> None:
        while batch := self._next():
            try:
                loss = self._deliver(batch, self._left)
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with it, the next batch may do; it is counted
                loss = Loss(len(batch), f"{type(exc).__name__}: {exc}")
            with self._change:
                if self._abandoned:
                    return
                self._in_hand = 0
                if loss is not None:
                    self._lose(loss.count, loss.why)

    def _next(self) -> list[T]:
        """Wait for a batch; an empty one is the end."""
        with self._change:
            while not self._waiting and self._deadline == math.inf:
                self._change.wait()
            if self._deadline == math.inf:
                self._change.wait_for(lambda: self._is_full_batch() or self._deadline < math.inf, self._period)
            if self._left() <= 0:
                return []  # what waits is counted by `close`
            batch: list[T] = []
            size = 0
            while self._waiting and len(batch) < BATCH and size < BATCH_BYTES:
                thing, its_size = self._waiting.popleft()
                batch.append(thing)
                size += its_size
            self._bytes -= size
            self._in_hand = len(batch)
            return batch

    def _is_full_batch(self) -> bool:
        return len(self._waiting) >= BATCH or self._bytes >= BATCH_BYTES

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _lose(self, count: int, why: str) -> None:
        if count:
            self._lost += count
            self._why = self._why or why
