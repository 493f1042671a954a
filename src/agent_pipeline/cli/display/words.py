"""What a live view and the lines of a plain one say alike: money, tokens, concurrency, what will yet be."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime

from agent_pipeline.amounts import dollars, seconds_text
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.snapshot import LaneState, RunSnapshot, Spent

_WHY = {
    "doubled": "all goes well",
    "rate_limited": "the provider said 429",
    "recovered": "back to what went well",
    "probed": "trying one more",
    "confirmed": "that went well",
    "configured": "set by hand",
}
"""Why a limit changed, by the event's reason."""


def status_words(progress: Progress, at: datetime) -> str:
    """Return the state of a run as one line."""
    of = "" if progress.total is None else f" of {progress.total:,}"
    parts = [f"{progress.done:,}{of} documents"]
    parts += [*progress.unhappy(), progress.under_way()]
    parts += ["; ".join(spent_words(progress))] if progress.state is not None else []
    parts += [f"{progress.rate_limited:,} answers 429"] if progress.rate_limited else []
    parts += [f"{progress.retries:,} retries"] if progress.retries else []
    if progress.state is not None:
        parts += [lane_words(lane) for lane in progress.state.lanes]
    parts += [left] if (left := left_words(progress, at)) else []
    return ", ".join(parts)


def left_words(progress: Progress, at: datetime) -> str:
    """Return how long the run will yet take; empty where nobody can tell."""
    progress.look(at)
    left = progress.forecast.seconds_left()
    return "" if left is None or progress.stopping is not None else f"about {seconds_text(round(left))} left"


def spent_words(progress: Progress) -> Iterator[str]:
    """Yield what was spent, of what cap, and what the whole will have cost: tokens, then money."""
    state = progress.state
    if state is None:
        return
    yield _spent(progress, state.tokens, _tokens)
    if state.unknown_cost and not state.micro_usd.charged:
        yield "cost unknown"
    else:
        yield _spent(progress, state.micro_usd, dollars) + _remarks(progress, state)


def is_beyond_its_cap(progress: Progress) -> bool:
    """Say whether the run will reach a budget before its end, at what it spends so far."""
    state = progress.state
    if state is None:
        return False
    pairs = ((one.cap, progress.forecast.whole(one.charged)) for one in (state.tokens, state.micro_usd))
    return any(cap is not None and whole is not None and whole > cap for cap, whole in pairs)


def lane_words(lane: LaneState) -> str:
    """Return how many requests are in flight to one provider and model, and what holds others back."""
    words = f"{lane.in_flight} of {lane.limit} requests to {lane.model}"
    if lane.waiting:
        words += f" ({lane.waiting} waiting)"
    return words + (f" (paused for {seconds_text(math.ceil(lane.cooldown))} by 429)" if lane.cooldown > 0 else "")


def change_words(progress: Progress, at: datetime) -> str:
    """Return the last change of a limit, when and why; empty where there was none."""
    if progress.limit_change is None:
        return ""
    change, changed_at = progress.limit_change
    ago = seconds_text(math.floor(max((at - changed_at).total_seconds(), 0)))
    return f"limit {change.old} → {change.new} {ago} ago: {_WHY.get(change.reason, change.reason)}"


def oldest_words(state: RunSnapshot) -> str:
    """Return the call that is under way for longest; empty without one."""
    oldest = state.oldest
    if oldest is None:
        return ""
    whose = "" if oldest.document_id is None else f", document {oldest.document_id}"
    where = "" if oldest.stage is None else f" at {oldest.stage}"
    return f"oldest request {seconds_text(round(oldest.seconds))}{whose}{where}{'' if oldest.is_sent else ', waiting'}"


def _tokens(count: int) -> str:
    return f"{count:,} tokens"


def _spent(progress: Progress, spent: Spent, form: Callable[[int], str]) -> str:
    words = form(spent.charged)
    if spent.cap is not None:
        words = f"{words.removesuffix(' tokens')} of {form(spent.cap)}"
    whole = None if progress.stopping is not None else progress.forecast.whole(spent.charged)
    return (
        words
        if whole is None or not spent.charged
        else f"{words} (about {form(round(whole)).removesuffix(' tokens')} in all)"
    )


def _remarks(progress: Progress, state: RunSnapshot) -> str:
    remarks = ["replayed"] if progress.replayed else ["simulated"] if progress.simulator else []
    remarks += ["some prices unknown"] if state.unknown_cost else []
    return f" ({', '.join(remarks)})" if remarks else ""
