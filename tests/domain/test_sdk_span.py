"""A span's line is text for most, and brings the span along for some."""

import copy
import pickle

from agent_pipeline.domain.sdk_span import SdkSpan, SpanLine


def test_a_line_is_text_and_keeps_its_span_wherever_it_goes() -> None:
    """It waits in queues, is copied with its event, and may come from another process."""
    line = SpanLine('{"object":"trace.span"}', SdkSpan(["what it is about"], "s1", None, "1", "answer", 1, "t1"))

    packed = pickle.loads(pickle.dumps(line))  # noqa: S301 - packed here

    assert line == '{"object":"trace.span"}'
    assert copy.copy(line) is line
    assert copy.deepcopy(line) is line
    assert (packed, packed.span) == (line, line.span)
