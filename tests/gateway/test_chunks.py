"""Chunks of a streamed answer, whatever parts its bytes come in."""

import time

import pytest

from agent_pipeline.gateway.chunks import ChunkListener

EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"lake"}}]}'


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_each_chunk_is_handed_on_once_wherever_its_bytes_are_cut(end: bytes, step: int) -> None:
    taken: list[object] = []
    listener = ChunkListener("chat", taken.append)
    listener.begin()
    stream = (EVENT + end) * 3

    for begin in range(0, len(stream), step):
        listener.take(stream[begin : begin + step])
    listener.end()

    assert len(taken) == 3


def test_a_long_event_in_small_parts_is_looked_through_once() -> None:
    """It took 24 s of the loop for 2 MB, with the square of the length; now milliseconds."""
    taken: list[object] = []
    listener = ChunkListener("chat", taken.append)
    listener.begin()
    begun = time.process_time()

    listener.take(EVENT[:-4])
    for _ in range(2000):
        listener.take(b" " * 1000)
    listener.take(EVENT[-4:] + b"\n\n")

    assert time.process_time() - begun < 3
    assert len(taken) == 1
