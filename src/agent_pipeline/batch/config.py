"""How a batch is worked on: one checked value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agent_pipeline.batch.given import is_finite, is_positive, is_whole, told
from agent_pipeline.config.validation import nearest
from agent_pipeline.errors import AgentPipelineError

AbortMode = Literal["drain", "cancel"]
"""What happens to the items under way when a batch is aborted: they go on to their end, or are cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorConfig:
    """Limits, timeouts and order of one batch. Seconds are floats; None is no limit.

    Attributes:
        max_workers: items under way at once, and requests in flight per lane at most.
        timeout_per_item: for one item: all its attempts and the pauses between them. Waiting that others cause (a
            429's pause, a limit per minute, a provider that is down) does not count.
        attempt_timeout: for one attempt; shorter than `timeout_per_item`. None leaves what the item has.
        batch_timeout: for all, from opening on; longer than `timeout_per_item`.
        max_attempts: per item; a 429 uses none up.
        initial_wait: ceiling of the first pause before another attempt; it doubles, with full jitter.
        max_wait: ceiling of every such pause; a provider may ask for longer ones.
        max_rate_limits: 429s in a row after which an item gives up.
        requests_per_minute: per lane.
        tokens_per_minute: per lane.
        tokens_per_attempt: what is held for an attempt until it tells its usage, and charged if it never does. 0 holds
            the bytes of the prompt, which make no more tokens.
        budget_tokens: all attempts together never use more, as long as none uses more than `tokens_per_attempt`,
            which is needed then.
        max_queue_size: items that wait; `add_work` waits while it is full. 0 is unlimited.
        max_result_queue_size: results that wait for whoever reads them; no new item is begun while it is full. 0 is
            unlimited.
        abort_on: error codes of a failed item that end the batch: those of `agent_pipeline.errors`, and of errors of
            your own that are derived from them.
        abort_mode: what then becomes of the items under way.
        preserve_order: give results in the order in which items were added.
        order_window: how far an item may run ahead of the first one without a result, where order is preserved; None
            is four times `max_workers`.

    Raises:
        ValueError: a value makes no sense by itself, or beside another one.

    >>> ProcessorConfig(attempt_timeout=120.0)
    Traceback (most recent call last):
    ValueError: attempt_timeout (120 s) has to be shorter than timeout_per_item (120 s)
    """

    max_workers: int = 5
    timeout_per_item: float | None = 120.0
    attempt_timeout: float | None = None
    batch_timeout: float | None = None
    max_attempts: int = 3
    initial_wait: float = 1.0
    max_wait: float = 60.0
    max_rate_limits: int = 20
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_attempt: int = 0
    budget_tokens: int | None = None
    max_queue_size: int = 0
    max_result_queue_size: int = 0
    abort_on: tuple[str, ...] = ()
    abort_mode: AbortMode = "drain"
    preserve_order: bool = False
    order_window: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_ladder(self)
        object.__setattr__(self, "abort_on", _checked_codes(self.abort_on))
        if self.abort_mode not in ("drain", "cancel"):  # no set: what is given may not be hashable
            msg = f"abort_mode is 'drain' or 'cancel', not {told(self.abort_mode)}"
            raise ValueError(msg)
        preserve_order: object = self.preserve_order
        if not isinstance(preserve_order, bool):
            msg = f"preserve_order is True or False, not {told(preserve_order)}"
            raise ValueError(msg)  # noqa: TRY004 - all that is wrong with a config is a ValueError
        if self.budget_tokens is not None and self.tokens_per_attempt == 0:
            msg = "budget_tokens needs tokens_per_attempt: the most that one attempt may use"
            raise ValueError(msg)

    @property
    def window(self) -> int:
        """How far an item may run ahead of the first one without a result."""
        return 4 * self.max_workers if self.order_window is None else self.order_window


_LEAST: Mapping[str, int] = {
    "max_workers": 1,
    "max_attempts": 1,
    "max_rate_limits": 0,
    "requests_per_minute": 1,
    "tokens_per_minute": 1,
    "tokens_per_attempt": 0,
    "budget_tokens": 0,
    "max_queue_size": 0,
    "max_result_queue_size": 0,
    "order_window": 1,
}
_OPTIONAL = frozenset({"requests_per_minute", "tokens_per_minute", "budget_tokens", "order_window"})
_TIMEOUTS = ("attempt_timeout", "timeout_per_item", "batch_timeout")


def _check_numbers(config: ProcessorConfig) -> None:
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if value is None and name in _OPTIONAL:
            continue
        if not is_whole(value, least):
            msg = f"{name} is a whole number from {least}, not {told(value)}"
            raise ValueError(msg)
    for name in ("initial_wait", "max_wait"):
        if not is_finite(getattr(config, name)):
            msg = f"{name} is a number of seconds from 0, not {told(getattr(config, name))}"
            raise ValueError(msg)
    for name in _TIMEOUTS:
        value = getattr(config, name)
        if value is not None and not is_positive(value):
            msg = f"{name} is a positive number of seconds, or None, not {told(value)}"
            raise ValueError(msg)


def _checked_codes(codes: object) -> tuple[str, ...]:
    if isinstance(codes, str) or not isinstance(codes, Iterable):
        msg = f"abort_on is a tuple of error codes, not {told(codes)}"
        raise ValueError(msg)  # noqa: TRY004 - as above
    checked = tuple(codes)
    known = _known_codes() if checked else frozenset()
    for code in checked:
        if not isinstance(code, str) or code not in known:
            near = nearest(code, known) if isinstance(code, str) else None
            hint = f"did you mean {near!r}?" if near is not None else "they are those of agent_pipeline.errors"
            msg = f"abort_on holds error codes, and {told(code)} is none; {hint}"
            raise ValueError(msg)
    return checked


def _known_codes() -> frozenset[str]:
    found: set[str] = set()
    left: list[type[AgentPipelineError]] = [AgentPipelineError]
    while left:
        kind = left.pop()
        found.add(kind.code)
        left.extend(kind.__subclasses__())
    return frozenset(found)


def _check_ladder(config: ProcessorConfig) -> None:
    """Refuse a rung that can't fire before the one around it."""
    given = [(name, value) for name in _TIMEOUTS if (value := getattr(config, name)) is not None]
    for (inner, shorter), (outer, longer) in pairwise(given):
        if shorter >= longer:
            msg = f"{inner} ({shorter:g} s) has to be shorter than {outer} ({longer:g} s)"
            raise ValueError(msg)
