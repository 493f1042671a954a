"""What to change, by what a rehearsal has seen: which errors, which waits, which limit held it back."""

from collections.abc import Iterator

from agent_pipeline.amounts import counted
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.rehearsal.rehearse import Rehearsal

_DEADLINES = ("deadline_exceeded", "wait_beyond_deadline")
_ANSWERS = ("bad_answer", "connection_lost", "stream_truncated")
_PROVIDER = ("server_error", "attempt_timeout", "provider_unreachable")
_OWN_CODE = ("stage_failed", "agent_failed", "output_invalid", "request_rejected", "rejected", "document_invalid")
_SPARE = 1.1
"""A budget is to have this much more than what was used."""

_WAITED_FOR = {
    "admission": "a place among the requests in flight (requests_in_flight)",
    "backoff": "another attempt (retry.initial_delay, retry.max_delay)",
    "breaker": "a provider that failed for all",
    "budget": "room in the budget, which holds the worst case of every request under way",
    "cooldown": "the end of a pause that the provider asked all for (429)",
    "rate": "the limits per minute (requests_per_minute, tokens_per_minute)",
    "retry_after": "the moment that the provider named (retry-after)",
}


def advice(rehearsal: Rehearsal, config: PipelineConfig) -> list[str]:
    """Return what to change, the most important first; where nothing is lost, what made it slow."""
    rules = (_ended_early, _too_late, _too_many_requests, _answers, _provider, _cut_short, _own, _unconfirmed, _files)
    found = [line for rule in rules for line in rule(rehearsal, config)]
    return found or [_slowest_wait(rehearsal)]


def _ended_early(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    reason, finished = rehearsal.result.reason or "", rehearsal.finished
    left = f"{_were(rehearsal.unfinished)} not finished"
    if reason.startswith("budget:"):
        yield f"{left}: {', '.join(_budgets(reason))} was reached{_needed(rehearsal)}"
    elif reason == "deadline:run":
        run = config.limits.timeouts.run or 0.0
        needed = run * rehearsal.cast.size / finished * _SPARE if finished else None
        about = "" if needed is None else f", all documents need about {needed:,.0f} s"
        yield f"{left}: the run's timeout of {run:,.0f} s ran out{about}; raise timeouts.run (--timeout), or resume"
    elif reason == "provider_down":
        yield (
            f"{left}: the provider failed for all, so the run ended instead of paying for attempts; resume takes them "
            "up when it is back, a fallback of another provider (`fallback` of a role) would have gone on"
        )
    elif rehearsal.unfinished and reason:
        yield f"{left}: the run ended with {reason}"


def _were(count: int) -> str:
    return f"{counted(count, 'document')} {'was' if count == 1 else 'were'}"


def _budgets(reason: str) -> Iterator[str]:
    for name in reason.removeprefix("budget:").split(","):
        owner, _, unit = name.rpartition(":")
        whose = f" of {owner.replace(':', ' ')}" if owner else ""
        yield f"the {'money' if unit == 'usd' else 'token'} budget{whose}"


def _needed(rehearsal: Rehearsal) -> str:
    if not rehearsal.finished:
        return " before a document was finished; it holds the worst case of every request, so it must be larger"
    spent, share = rehearsal.observed.spent, rehearsal.cast.size / rehearsal.finished * _SPARE
    money = "" if spent.unpriced else f" or ${spent.micro_usd * share / 1e6:,.2f}"
    return f"; all {rehearsal.cast.size:,} need about {spent.tokens * share:,.0f} tokens{money} (limits.budget)"


def _too_late(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    seen, limits = rehearsal.observed, config.limits
    late = sum(seen.failures[code] for code in _DEADLINES)
    if not late:
        return
    reason = max(seen.waits, key=lambda one: seen.waits[one], default="")
    why = f", most of it waiting for {_WAITED_FOR[reason]}" if reason in _WAITED_FOR else ""
    at_once = min([limits.requests_in_flight.max, *seen.lowest_limits.values()])
    fewer = min(limits.documents_in_flight // 2, max(at_once, 1)) or 1
    stage = limits.timeouts.stage
    longer = "" if stage is None else f", or let a stage take longer than {stage:,.0f} s (timeouts.stage)"
    yield f"{counted(late, 'document')} ran out of time{why}: set documents_in_flight to {fewer:,} or so{longer}"


def _too_many_requests(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    seen = rehearsal.observed
    refused, total = seen.endings["rate_limited"], seen.endings.total()
    if total and refused / total > 0.02:
        lowest = min(seen.lowest_limits.values(), default=config.limits.requests_in_flight.start)
        yield (
            f"{refused:,} of {total:,} requests got a 429, and the gate came down to {lowest:,} at once: start there "
            "(requests_in_flight.start), and write down what your account allows (requests_per_minute, "
            "tokens_per_minute)"
        )


def _answers(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    del config
    bad = sum(rehearsal.observed.failures[code] for code in _ANSWERS)
    if bad:
        yield (
            f"{_were(bad)} lost to answers that came broken: no request is paid for a third time that was "
            "answered badly twice; resume --retry-failed works on them again"
        )


def _provider(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    lost = sum(rehearsal.observed.failures[code] for code in _PROVIDER)
    if lost:
        attempts = config.limits.retry.max_attempts
        yield (
            f"{_were(lost)} lost after {attempts} attempts at one request: more (retry.max_attempts) or "
            "longer pauses (retry.max_delay) would have saved some; resume --retry-failed works on them again"
        )
    if poisoned := rehearsal.observed.failures["poisoned"]:
        which = "it" if poisoned == 1 else "them one by one"
        yield f"{counted(poisoned, 'document')} failed again and again where others passed: look at {which}"


def _cut_short(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    for role, count in rehearsal.observed.incomplete_roles.most_common():
        known = config.runtime.roles.get(role)
        cap = None if known is None else known.output_cap
        more = "" if cap is None else f", {cap:,} now"
        yield f"role {role}: its output cap cut {counted(count, 'answer')} short: raise params.max_tokens{more}"


def _own(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    del config
    seen = rehearsal.observed
    for code in _OWN_CODE:
        if count := seen.failures[code]:
            failed = f"{counted(count, 'document')} failed with {code}"
            yield f"{failed}, which no provider is to blame for: {seen.messages[code]}"


def _unconfirmed(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    seen, timeout = rehearsal.observed, config.limits.timeouts
    cut_off = seen.endings["attempt_timeout"]
    if cut_off and seen.unconfirmed.tokens > seen.spent.tokens // 20:
        shortest = min((one for one in (timeout.attempt, timeout.read) if one is not None), default=0.0)
        yield (
            f"{cut_off:,} attempts were cut off after {shortest:,.0f} s or more and may be billed all the same: where "
            "answers are slow rather than lost, let them take longer (timeouts.read, timeouts.attempt)"
        )


def _files(rehearsal: Rehearsal, config: PipelineConfig) -> Iterator[str]:
    if rehearsal.observed.clamped is not None:
        yield (
            f"documents_in_flight is {config.limits.documents_in_flight:,}, but this process may open files for "
            f"{rehearsal.observed.clamped:,} only: raise the limit (ulimit -n), or set it lower"
        )


def _slowest_wait(rehearsal: Rehearsal) -> str:
    waits = rehearsal.observed.waits
    waited = sum(waits.values())
    if waited <= 0.1 * rehearsal.result.duration_seconds:
        return "nothing: no document was lost, and requests hardly waited"
    reason = max(waits, key=lambda one: waits[one])
    return (
        f"nothing has to: no document was lost; requests waited {_length(waited)} together, "
        f"most of it for {_WAITED_FOR.get(reason, reason)}"
    )


def _length(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
