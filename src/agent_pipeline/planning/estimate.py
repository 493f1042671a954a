"""Requests, tokens and money of each stage: low, expected, high."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from agent_pipeline.domain.usage import Usage
from agent_pipeline.planning.figures import Figures
from agent_pipeline.planning.history import StageHistory
from agent_pipeline.planning.needs import BYTES_PER_TOKEN, Asked, Need, largest_body
from agent_pipeline.planning.sizes import Sizes

_FEWEST_TOKENS = 8
"""Bytes of text per token, at most: what a document needs at least counts so many to one."""

_AROUND_BYTES, _SHORT_ANSWER, _BESIDE_A_REWRITE = 1_500, 120, 80
"""What is expected where no run says better: prompt and schema; tokens of a verdict; those of a summary."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage would need.

    Attributes:
        attempts: HTTP requests; those that a 429 answers come on top, and cost nothing.
        micro_usd: None in all three where a price is unknown.
        from_history: whether `expected` is what an earlier run needed.
        worst_request: tokens that a budget holds for one request, on average; 0 where that is not known.
    """

    stage: str
    documents: int
    requests: Figures
    attempts: Figures
    tokens: Figures
    micro_usd: Figures
    from_history: bool
    worst_request: float


def estimate(
    need: Need, *, wanted: Sizes, at_most: Sizes, history: StageHistory | None, max_attempts: int
) -> StageEstimate:
    """Return what a stage would need.

    Args:
        need: of one document.
        wanted: documents that need the stage.
        at_most: documents that may come to need it, by rework.
        history: what the stage needed in an earlier run.
        max_attempts: of one request.
    """
    low, expected, high = _least(need, wanted), _expected(need, wanted, history), _most(need, at_most, history)
    expected_attempts = expected.requests if history is None else history.attempts.total(wanted)
    attempts = Figures(low.requests, expected_attempts, None if high.requests is None else high.requests * max_attempts)
    is_priced = all(asked.price is not None for chain in need.chains for asked in chain)
    is_priced &= not (need.is_silent and history is not None and history.unpriced)
    tokens_high = None if high.tokens is None else high.tokens * max_attempts
    money_high = None if high.micro_usd is None else high.micro_usd * max_attempts
    money = Figures(low.micro_usd, expected.micro_usd, money_high)
    return StageEstimate(
        stage=need.stage,
        documents=wanted.count,
        requests=Figures(low.requests, expected.requests, high.requests),
        attempts=attempts,
        tokens=Figures(low.tokens, expected.tokens, tokens_high),
        micro_usd=money if is_priced else Figures(),
        from_history=history is not None,
        worst_request=_worst_request(need, wanted, history),
    )


@dataclass(frozen=True, slots=True)
class _Sum:
    requests: int | None = 0
    tokens: int | None = 0
    micro_usd: int | None = 0


def _least(need: Need, sizes: Sizes) -> _Sum:
    """Return what is needed where every request succeeds at once and every answer is short."""
    if need.is_own or need.is_silent:
        return _Sum()
    tokens = sizes.text_bytes // _FEWEST_TOKENS
    usage = Usage(tokens, 0, cached_input_tokens=tokens)
    costs = [chain[0].price.cost_micro_usd(usage) for chain in need.chains if chain[0].price is not None]
    return _Sum(sizes.count, tokens, min(costs, default=0))


def _expected(need: Need, sizes: Sizes, history: StageHistory | None) -> _Sum:
    if history is not None:
        requests, tokens = history.calls.total(sizes), history.tokens.total(sizes)
        asked = {(one.role, one.provider, one.model) for chain in need.chains for one in chain}
        if not history.unpriced and (history.models <= asked or need.is_silent):
            return _Sum(requests, tokens, history.micro_usd.total(sizes))
        return _Sum(requests, tokens, _priced(need, requests or 0, tokens or 0))
    if need.is_silent or not sizes.count:
        return _Sum()
    asked_first = need.chains[0][0]
    mean = sizes.text_bytes / sizes.count
    inputs = ceil((need.texts * mean + _AROUND_BYTES) / BYTES_PER_TOKEN)
    answer = ceil(mean / BYTES_PER_TOKEN) + _BESIDE_A_REWRITE if need.rewrites else _SHORT_ANSWER
    outputs = answer if asked_first.cap is None else min(answer, asked_first.cap)
    cost = None if asked_first.price is None else asked_first.price.cost_micro_usd(Usage(inputs, outputs)) * sizes.count
    return _Sum(sizes.count, (inputs + outputs) * sizes.count, cost)


def _priced(need: Need, requests: int, tokens: int) -> int | None:
    """Return what tokens cost now that other models are asked than in the earlier run; half of them as answers."""
    asked = need.chains[0][0] if need.chains else None
    if asked is None or asked.price is None or not requests:
        return 0 if not requests else None
    half = tokens // requests // 2
    return asked.price.cost_micro_usd(Usage(tokens // requests - half, half)) * requests


def _most(need: Need, sizes: Sizes, history: StageHistory | None) -> _Sum:
    """Return what is needed where every request takes all of its attempts, and every document all reworks."""
    if need.is_silent:
        unknown = history is not None and history.most_calls > 0
        return _Sum(None, None, None) if unknown else _Sum()
    calls = need.passes * (max(1, history.most_calls) if need.is_own and history is not None else 1)
    requests = sizes.count * calls * max(len(chain) for chain in need.chains)
    tokens: int | None = 0
    micro_usd: int | None = 0
    for body_bytes, count in sizes.bodies():
        worst = [_worst(need, chain, body_bytes) for chain in need.chains]
        tokens = _plus(tokens, [one.tokens for one in worst], count * calls)
        micro_usd = _plus(micro_usd, [one.micro_usd for one in worst], count * calls)
    return _Sum(requests, tokens, micro_usd)


def _worst(need: Need, chain: Iterable[Asked], body_bytes: int) -> _Sum:
    """Return the worst case of a request that every role of a chain is asked in turn."""
    tokens: int | None = 0
    micro_usd: int | None = 0
    for asked in chain:
        body = largest_body(need, asked, body_bytes)
        if body is None or asked.cap is None:
            return _Sum(1, None, None)
        tokens = _plus(tokens, [body + asked.cap], 1)
        cost = None if asked.price is None else asked.price.worst_case_micro_usd(body, asked.cap)
        micro_usd = _plus(micro_usd, [cost], 1)
    return _Sum(1, tokens, micro_usd)


def _plus(total: int | None, options: list[int | None], times: int) -> int | None:
    """Add the largest of what may come, so many times; unknown where one of it is."""
    if total is None or None in options:
        return None
    return total + times * max(one or 0 for one in options)


def _worst_request(need: Need, sizes: Sizes, history: StageHistory | None) -> float:
    """Return the tokens that a budget holds for one request of the stage, on average; 0 where that is not known."""
    if history is not None and history.attempts_made:
        return history.reserved_tokens / history.attempts_made
    if need.is_silent or not sizes.count:
        return 0.0
    return _AROUND_BYTES + need.texts * sizes.text_bytes / sizes.count + (need.chains[0][0].cap or 0)
