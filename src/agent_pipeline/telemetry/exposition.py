"""Figures in Prometheus' text format, version 0.0.4."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of our histograms of seconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure.

    Attributes:
        suffix: of the metric's name: `_bucket`, `_sum` and `_count` of a histogram.
    """

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, what it counts, and its figures."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: Sequence[Sample]


def histogram(labels: Mapping[str, str], counts: Sequence[int], total: float) -> list[Sample]:
    """Return the samples of one histogram of seconds.

    Args:
        labels: of each.
        counts: how many fall between one bound of `SECONDS` and the next; the last above all bounds.
        total: seconds of all together.
    """
    samples = []
    count = 0
    for bound, more in zip((*(f"{bound:g}" for bound in SECONDS), "+Inf"), counts, strict=True):
        count += more
        samples.append(Sample({**labels, "le": bound}, count, "_bucket"))
    return [*samples, Sample(labels, total, "_sum"), Sample(labels, count, "_count")]


def exposition(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the text, line by line."""
    for metric in metrics:
        yield f"# HELP {metric.name} {_escape(metric.help, quote='')}\n# TYPE {metric.name} {metric.kind}\n"
        for sample in metric.samples:
            yield f"{metric.name}{sample.suffix}{_labels(sample.labels)} {sample.value!r}\n"


def check_labels(names: Iterable[str]) -> None:
    """Refuse names that Prometheus does not take.

    Raises:
        ValueError: one of them is none.
    """
    for name in names:
        if not (name.isascii() and name.isidentifier() and not name.startswith("__")):
            msg = f"{name!r} is no name of a Prometheus label"
            raise ValueError(msg)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escape(value: str, quote: str = '"') -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace(quote, f"\\{quote}") if quote else value
