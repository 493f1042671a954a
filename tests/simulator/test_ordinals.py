"""How often the same request came, for any number of others."""

import pytest

from agent_pipeline.simulator import identity
from agent_pipeline.simulator.identity import Ordinals


def test_the_same_request_is_counted_and_others_are_not() -> None:
    """Ordinals make equal requests different, which is what faults and ids are drawn by."""
    ordinals = Ordinals()

    assert [ordinals.next(one) for one in (b"a", b"b", b"a", b"a", b"b")] == [1, 1, 2, 3, 2]


def test_only_what_came_lately_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes again counts as come lately; the one that has not come for longest is forgotten."""
    monkeypatch.setattr(identity, "REMEMBERED", 2)
    ordinals = Ordinals()
    for one in (b"a", b"b", b"a", b"c"):
        ordinals.next(one)

    assert [ordinals.next(b"a"), ordinals.next(b"b")] == [3, 1]
    assert len(ordinals._counts) == 2
