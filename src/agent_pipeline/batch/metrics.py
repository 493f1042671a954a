"""Figures of a batch: counted as items end, shown as a mapping, JSON, or Prometheus' text."""

import json
import math
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent_pipeline.batch.results import WorkItemResult
from agent_pipeline.domain.usage import Usage
from agent_pipeline.telemetry.exposition import SECONDS, Metric, Sample, check_labels, exposition, histogram

TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

NEWEST = 10_000
"""Items of which the seconds are kept, for the percentiles."""

_TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
_PHASES = ("queued", "waiting", "cooldown", "backoff", "executing")
_PREFIX = "agent_pipeline_batch"


class Metrics:
    """Counts what has ended; safe from any thread.

    Attributes:
        observer_failures: what observers raised.
        opened_at: on Trio's clock.
        changed_at: when the last item ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._succeeded = 0
        self._errors: Counter[str] = Counter()
        self._usage = Usage()
        self._attempts = 0
        self._rate_limits = 0
        self._phases: Counter[str] = Counter()
        self._seconds: Counter[int] = Counter()
        self._newest: deque[float] = deque(maxlen=NEWEST)
        self.observer_failures = 0
        self.opened_at = 0.0
        self.changed_at = 0.0

    def count(self, result: WorkItemResult[TOutput, TContext], now: float) -> None:
        """Count one item that has ended."""
        used, timing = result.token_usage, result.timing
        with self._lock:
            if result.success:
                self._succeeded += 1
            else:
                self._errors[result.error_code or "error"] += 1
            self._usage += Usage(
                used["input_tokens"], used["output_tokens"], used["cached_input_tokens"], used["reasoning_tokens"]
            )
            self._attempts += result.attempts
            self._rate_limits += result.rate_limits
            for phase in _PHASES:
                self._phases[phase] += getattr(timing, phase)
            self._seconds[_bucket(timing.total)] += 1
            self._newest.append(timing.total)
            self.changed_at = now

    def totals(self) -> "Totals":
        """Return all counters, of one instant."""
        with self._lock:
            return Totals(
                succeeded=self._succeeded,
                errors=dict(self._errors),
                usage=self._usage,
                attempts=self._attempts,
                rate_limits=self._rate_limits,
                phases={phase: float(self._phases[phase]) for phase in _PHASES},
                seconds=tuple(self._seconds[place] for place in range(len(SECONDS) + 1)),
                newest_seconds=tuple(self._newest),
                duration=max(0.0, self.changed_at - self.opened_at),
            )


@dataclass(frozen=True, slots=True)
class Totals:
    """A snapshot of `Metrics`.

    Attributes:
        phases: seconds of all items together, by phase.
        seconds: items by the bucket their whole time falls into; the last holds what is above all bounds.
        newest_seconds: of the newest items, from adding to the end.
        duration: seconds from opening to the last end.
    """

    succeeded: int
    errors: Mapping[str, int]
    usage: Usage
    attempts: int
    rate_limits: int
    phases: Mapping[str, float]
    seconds: tuple[int, ...]
    newest_seconds: tuple[float, ...]
    duration: float

    @property
    def failed(self) -> int:
        """Items that failed."""
        return sum(self.errors.values())


def _bucket(seconds: float) -> int:
    return next((place for place, bound in enumerate(SECONDS) if seconds <= bound), len(SECONDS))


@dataclass(frozen=True, slots=True)
class BatchMetrics:
    """All figures of one instant; `to_dict`, `to_json`, `to_prometheus` and `to_statsd` say the same."""

    totals: Totals
    items_waiting: int
    items_active: int
    results_waiting: int
    middleware_failures: int
    post_processor_failures: int
    observer_failures: int
    unknown_tokens: int

    def to_dict(self) -> dict[str, object]:
        """Return a mapping of JSON values."""
        totals = self.totals
        ended = totals.succeeded + totals.failed
        return {
            "items": {
                "ended": ended,
                "succeeded": totals.succeeded,
                "failed": totals.failed,
                "waiting": self.items_waiting,
                "active": self.items_active,
                "results_waiting": self.results_waiting,
            },
            "errors": dict(sorted(totals.errors.items())),
            "attempts": totals.attempts,
            "rate_limits": totals.rate_limits,
            "tokens": {name: getattr(totals.usage, name) for name in _TOKENS} | {"unknown": self.unknown_tokens},
            "seconds": dict(totals.phases) | {"duration": totals.duration},
            "item_seconds": _quantiles(totals.newest_seconds),
            "items_per_second": ended / totals.duration if totals.duration > 0 else 0.0,
            "failures": {
                "middleware": self.middleware_failures,
                "post_processor": self.post_processor_failures,
                "observer": self.observer_failures,
            },
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_statsd(self, prefix: str = "agent_pipeline.batch") -> str:
        """Return StatsD's lines, all of them gauges: a snapshot says how much there is, not how much came.

        What has no value yet is left out; letters that StatsD does not take become `_`.
        """
        return "".join(
            f"{prefix}.{name}:{figure:.17g}|g\n" for name, figure in _flat(self.to_dict()) if figure is not None
        )

    def to_prometheus(self, labels: Mapping[str, str] | None = None) -> str:
        """Return Prometheus' text format, version 0.0.4; `labels` go to every figure.

        Raises:
            ValueError: the name of a label is none.
        """
        own = dict(labels or {})
        check_labels(own)
        return "".join(exposition(self._metrics(own)))

    def _metrics(self, own: Mapping[str, str]) -> Iterable[Metric]:
        totals = self.totals
        ended = [("succeeded", totals.succeeded), ("failed", totals.failed)]
        yield _metric("items_total", "Items that ended.", own, "outcome", ended)
        yield _metric("failures_total", "Items that failed, by error code.", own, "code", sorted(totals.errors.items()))
        yield _metric("attempts_total", "Attempts used up.", own, "", [("", totals.attempts)])
        yield _metric("rate_limits_total", "Answers 429.", own, "", [("", totals.rate_limits)])
        tokens = [(name.removesuffix("_tokens"), getattr(totals.usage, name)) for name in _TOKENS]
        tokens.append(("unknown", self.unknown_tokens))
        yield _metric("tokens_total", "Tokens, by kind.", own, "kind", tokens)
        yield _metric("phase_seconds_total", "Where items' time went.", own, "phase", list(totals.phases.items()))
        failures = [
            ("middleware", self.middleware_failures),
            ("post_processor", self.post_processor_failures),
            ("observer", self.observer_failures),
        ]
        yield _metric("hook_failures_total", "What hooks raised.", own, "hook", failures)
        now = [("waiting", self.items_waiting), ("active", self.items_active), ("unread", self.results_waiting)]
        yield _metric("items_now", "Items by where they are.", own, "state", now)
        seconds = histogram(own, totals.seconds, sum(totals.phases.values()))
        yield Metric(f"{_PREFIX}_item_seconds", "Seconds from adding an item to its end.", "histogram", seconds)


def _flat(values: Mapping[str, object], path: str = "") -> Iterable[tuple[str, float | None]]:
    """Yield the dotted name and the value of every figure."""
    for key, value in values.items():
        name = path + "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in key)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is None or isinstance(value, int | float):
            yield name, value


def _metric(name: str, text: str, own: Mapping[str, str], label: str, values: Iterable[tuple[str, float]]) -> Metric:
    samples = [Sample({**own, **({label: value} if label else {})}, figure) for value, figure in values]
    return Metric(f"{_PREFIX}_{name}", text, "counter" if name.endswith("_total") else "gauge", samples)


def _quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return the least value that so many percent do not exceed; None without values."""
    ordered = sorted(seconds)
    return {
        f"p{percent}": ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None
        for percent in (50, 95, 99)
    }
