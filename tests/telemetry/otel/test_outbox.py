"""A queue to somebody slow: nobody waits to put something in, nothing is lost uncounted, and the end has an end."""

import threading
import time
from collections.abc import Callable, Sequence

from agent_pipeline.telemetry.otel.outbox import BATCH, Loss, Outbox


class Slow:
    """Takes batches, and waits, fails or raises where it is told to."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.loss: Loss | None = None
        self.error: Exception | None = None
        self.left: float = 0

    def deliver(self, batch: Sequence[str], left: Callable[[], float]) -> Loss | None:
        self.left = left()
        self.sizes.append(len(batch))
        self.entered.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        if self.loss is None:
            self.taken += batch
        return self.loss


def outbox_to(slow: Slow, *, capacity: int = 10_000, room: int = 10**9, patience: float = 5) -> Outbox[str]:
    """Return an open outbox."""
    outbox = Outbox(slow.deliver, name="slow", capacity=capacity, capacity_bytes=room, period=0.02, patience=patience)
    outbox.start()
    return outbox


def test_everything_arrives_in_order_and_in_batches() -> None:
    slow = Slow()
    things = [str(number) for number in range(3 * BATCH)]
    slow.gate.clear()
    outbox = outbox_to(slow)
    for thing in things:
        outbox.put(thing, 1)
    slow.gate.set()
    outbox.close()

    assert slow.taken == things
    assert max(slow.sizes) <= BATCH
    assert outbox.take_loss() is None
    assert not [thread for thread in threading.enumerate() if thread.name == "slow"]


def test_a_few_things_do_not_wait_for_more() -> None:
    """A run may be quiet for an hour; what it did is looked at meanwhile."""
    slow = Slow()
    outbox = outbox_to(slow)
    outbox.put("a", 1)

    assert slow.entered.wait(5)
    outbox.close()
    assert slow.taken == ["a"]


def test_large_things_go_in_small_batches() -> None:
    slow = Slow()
    slow.gate.clear()
    outbox = outbox_to(slow)
    for _ in range(6):
        outbox.put("x", 3 * 1024 * 1024)
    slow.gate.set()
    outbox.close()

    assert len(slow.taken) == 6
    assert max(slow.sizes) <= 2


def test_what_is_too_much_to_keep_is_lost_however_few_things_it_is() -> None:
    """Prompts may be long; and what has left makes room."""
    slow = Slow()
    outbox = outbox_to(slow, room=100)
    for number in range(4):
        outbox.put(str(number), 60)
        while len(slow.taken) <= number:
            time.sleep(0.001)
    slow.gate.clear()
    outbox.put("in hand", 1)
    while len(slow.sizes) < 5:
        time.sleep(0.001)
    outbox.put("fits", 60)
    outbox.put("too much", 60)
    slow.gate.set()
    outbox.close()

    assert slow.taken == ["0", "1", "2", "3", "in hand", "fits"]
    assert outbox.take_loss() == Loss(1, "more came than could be sent")


def test_what_does_not_fit_is_lost_and_counted_and_nobody_waits() -> None:
    """However long the other side stands still."""
    slow = Slow()
    slow.gate.clear()
    outbox = outbox_to(slow, capacity=5)
    outbox.put("in hand", 1)
    assert slow.entered.wait(5)
    begun = time.monotonic()
    for _ in range(8):
        outbox.put("x", 1)
    assert time.monotonic() - begun < 1

    assert outbox.take_loss() == Loss(3, "more came than could be sent")
    assert outbox.take_loss() is None
    slow.gate.set()
    outbox.close()
    assert len(slow.taken) == 6


def test_what_was_not_delivered_is_counted_with_the_first_reason() -> None:
    slow = Slow()
    slow.loss = Loss(1, "refused")
    outbox = outbox_to(slow)
    outbox.put("a", 1)
    while (first := outbox.take_loss()) is None:
        time.sleep(0.001)
    slow.error = RuntimeError("broken")
    outbox.put("b", 1)
    outbox.put("c", 1)
    outbox.close()

    assert first == Loss(1, "refused")
    assert outbox.take_loss() == Loss(2, "refused")


def test_an_error_costs_its_batch_and_no_more() -> None:
    slow = Slow()
    slow.error = RuntimeError("broken")
    outbox = outbox_to(slow)
    outbox.put("a", 1)
    while (loss := outbox.take_loss()) is None:
        time.sleep(0.001)
    slow.error = None
    outbox.put("b", 1)
    outbox.close()

    assert (loss, slow.taken, outbox.take_loss()) == (Loss(1, "RuntimeError: broken"), ["b"], None)


def test_the_end_waits_as_long_as_its_patience_lasts_and_counts_the_rest() -> None:
    """What hangs, hangs without us; it can't change the count afterwards."""
    slow = Slow()
    slow.gate.clear()
    outbox = outbox_to(slow, patience=0.05)
    outbox.put("in hand", 1)
    assert slow.entered.wait(5)
    outbox.put("waiting", 1)
    begun = time.monotonic()
    outbox.close()
    waited = time.monotonic() - begun

    assert waited < 2
    assert outbox.take_loss() == Loss(2, "not sent within 0.05 s of the end")
    slow.loss = Loss(1, "too late to say")
    slow.gate.set()
    for thread in [one for one in threading.enumerate() if one.name == "slow"]:
        thread.join(5)
    assert outbox.take_loss() is None


def test_nothing_is_begun_when_the_time_is_up() -> None:
    """It would be counted as lost and arrive nevertheless."""
    slow = Slow()
    slow.gate.clear()
    outbox = outbox_to(slow, patience=0.05)
    outbox.put("in hand", 1)
    assert slow.entered.wait(5)
    outbox.put("waiting", 1)
    late = threading.Timer(0.1, slow.gate.set)
    late.start()
    outbox.close()
    late.join()

    assert slow.taken == ["in hand"]
    assert outbox.take_loss() == Loss(1, "not sent within 0.05 s of the end")


def test_who_delivers_is_told_how_long_it_has() -> None:
    """Nothing in the middle of a run, the patience at its end."""
    slow = Slow()
    slow.gate.clear()
    outbox = outbox_to(slow, patience=4)
    outbox.put("a", 1)
    assert slow.entered.wait(5)
    assert slow.left == float("inf")
    outbox.put("b", 1)
    closing = threading.Thread(target=outbox.close)
    closing.start()
    while outbox._left() == float("inf"):
        time.sleep(0.001)
    slow.gate.set()
    closing.join(10)

    assert slow.taken == ["a", "b"]
    assert 0 < slow.left <= 4


def test_what_comes_after_the_end_is_counted_and_an_outbox_that_never_began_can_be_closed() -> None:
    outbox = Outbox(Slow().deliver, name="slow", patience=0.01)
    outbox.put("never", 1)
    outbox.close()
    outbox.put("late", 1)

    loss = outbox.take_loss()
    assert loss is not None
    assert loss.count == 2
