"""Prometheus' text: read back it says what was put in, whatever characters that had."""

from hypothesis import given
from hypothesis import strategies as st
from tests.telemetry.prometheus_text import read_prometheus

from agent_pipeline.telemetry.exposition import SECONDS, Metric, Sample, exposition, histogram

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@given(label=TEXTS, value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**60), text=TEXTS)
def test_any_label_and_any_number_can_be_read_back(label: str, value: float, text: str) -> None:
    """Names of models are other people's."""
    written = "".join(exposition([Metric("m_total", text, "counter", [Sample({"model": label}, value)])]))

    assert written.count("\n") == 3
    assert read_prometheus(written) == {("m_total", frozenset({("model", label)})): float(value)}


def test_a_histogram_adds_up() -> None:
    samples = histogram({"a": "b"}, range(len(SECONDS) + 1), 1.5)
    read = read_prometheus("".join(exposition([Metric("s", "Seconds.", "histogram", samples)])))

    assert read["s_bucket", frozenset({("a", "b"), ("le", "0.25")})] == 0 + 1
    assert read["s_bucket", frozenset({("a", "b"), ("le", "+Inf")})] == sum(range(len(SECONDS) + 1))
    assert read["s_count", frozenset({("a", "b")})] == sum(range(len(SECONDS) + 1))
    assert read["s_sum", frozenset({("a", "b")})] == 1.5


def test_figures_are_written_as_short_as_they_can_be() -> None:
    """People read them too: not 0.0062269999999999999."""
    samples = [Sample({}, 0.006227), Sample({"a": "1"}, 2)]

    assert "".join(exposition([Metric("m", "M.", "gauge", samples)])) == (
        '# HELP m M.\n# TYPE m gauge\nm 0.006227\nm{a="1"} 2\n'
    )
