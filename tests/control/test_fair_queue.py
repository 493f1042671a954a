"""Documents in turn; first come, first served within one."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.control.fair_queue import FairQueue


def test_documents_take_turns_however_many_each_has() -> None:
    """The one with five waits for the others, not they for it."""
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "a4", "b1", "c1", "c2"):
        queue.add(item[0], item)
    queue.add(None, "n1")

    assert list(queue) == ["a1", "a2", "a3", "a4", "b1", "c1", "c2", "n1"]
    assert [queue.pop() for _ in range(len(queue))] == ["a1", "b1", "c1", "n1", "a2", "c2", "a3", "a4"]


def test_who_had_its_turn_comes_first_again() -> None:
    """A turn that could not be used is not lost."""
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "b1"):
        queue.add(item[0], item)
    queue.add_first("b", "b0")

    assert queue.first() == "b0"
    assert [queue.pop() for _ in range(4)] == ["b0", "a1", "b1", "a2"]


@given(st.lists(st.tuples(st.sampled_from(["add", "first", "pop", "remove"]), st.integers(0, 3))))
def test_nobody_is_lost_or_overtaken_within_a_document(steps: list[tuple[str, int]]) -> None:
    """Against a list for each document, kept by hand."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    kept: dict[str, deque[tuple[str, int]]] = {}
    for number, (what, document) in enumerate(steps):
        name = str(document)
        item = (name, number)
        if what == "add":
            queue.add(name, item)
            kept.setdefault(name, deque()).append(item)
        elif what == "first":
            queue.add_first(name, item)
            kept.setdefault(name, deque()).appendleft(item)
            assert queue.first() == item
        elif what == "pop" and len(queue):
            popped = queue.pop()
            assert popped == kept[popped[0]].popleft()
        elif what == "remove" and kept.get(name):
            middle = kept[name][len(kept[name]) // 2]
            queue.remove(name, middle)
            kept[name].remove(middle)
        assert len(queue) == sum(map(len, kept.values()))
        assert sorted(queue) == sorted(item for items in kept.values() for item in items)
