"""Sizes added up in steps: never below the true ones, and never far above."""

from agent_pipeline.domain.document import Document
from agent_pipeline.planning.sizes import Size, Sizes, size_of


def test_sizes_are_rounded_up_by_a_twentieth_at_the_most() -> None:
    """A bound on each document is a bound on their sum."""
    for body_bytes in (1, 2, 7, 100, 1023, 1024, 1025, 65_537, 10_485_760):
        sizes = Sizes()
        sizes.add(Size(0, body_bytes))

        ((above, count),) = sizes.bodies()

        assert count == 1
        assert body_bytes <= above <= body_bytes * 1.05 + 1


def test_many_sizes_need_few_steps() -> None:
    sizes = Sizes()
    for body_bytes in range(1, 100_000, 7):
        sizes.add(Size(body_bytes, body_bytes))

    assert len(list(sizes.bodies())) < 300
    assert sum(count for _, count in sizes.bodies()) == sizes.count == 14_286


def test_what_json_escapes_is_counted_as_it_is_sent() -> None:
    """A tab is two bytes in a request's body, a control character six, a kanji three."""
    assert size_of(Document("a", "\t\x01漢")) == Size(text_bytes=5, body_bytes=len('["\\t\\u0001漢", null]'.encode()))
