"""`rehearse`: the user's pipeline against a provider that fails, in virtual time, and what to change."""

import os
import time
from pathlib import Path

from agent_pipeline.amounts import counted, dollars, seconds_text
from agent_pipeline.cli.commands.config_file import find_config
from agent_pipeline.cli.commands.hidden import hide, without_secrets
from agent_pipeline.cli.commands.overridden import overrides_of
from agent_pipeline.cli.flags import RehearseFlags
from agent_pipeline.cli.output import one_line, out, print_json, say
from agent_pipeline.cli.summary import requests_in_words
from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.process import raise_descriptor_limit, slim_log_records, tune_garbage_collector
from agent_pipeline.compose.runtime import load_libraries
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.gateway.endpoints import redactor_of
from agent_pipeline.rehearsal.advice import advice
from agent_pipeline.rehearsal.cast import Cast
from agent_pipeline.rehearsal.fault_plans import FOLDER, load_plan, plan_file
from agent_pipeline.rehearsal.observed import Spent
from agent_pipeline.rehearsal.rehearse import USUAL_DOCUMENTS, Rehearsal, rehearse

FINISHED, LOST = 0, 1

_PERIOD = 2.0
"""Seconds of real time between two lines of progress."""


def rehearse_and_show(flags: RehearseFlags, config: Path | None) -> int:
    """Rehearse a pipeline and print what came of it; return 0 where every document was finished, else 1.

    Raises:
        AgentPipelineError: config, faults file or source can't be used.
    """
    faults = load_plan(flags.faults)
    loaded = load_pipeline_config(find_config(config), overrides_of(flags))
    hide(redactor_of(loaded.runtime))
    options = RunOptions(
        limit=flags.limit,
        only=tuple(flags.only),
        skip=tuple(flags.skip),
        fail_on_error="never",
        seed=flags.seed,
    )
    say("a simulated provider and virtual time: no model is asked, no network is used, nothing of yours is written")
    raise_descriptor_limit()
    load_libraries()
    slim_log_records()
    tune_garbage_collector()
    progress = _Progress()
    ended = rehearse(
        loaded, options, faults, documents=flags.documents, announce=progress.begin, on_finish=progress.tell
    )
    code = LOST if ended.lost or ended.unfinished else FINISHED
    if flags.json:
        print_json(_as_object(ended, loaded, flags, code))
    else:
        out().write(_as_text(ended, loaded, flags))
        out().flush()
    return code


class _Progress:
    """Tells on stderr how far it is, now and then in real time."""

    def __init__(self) -> None:
        self._begun = self._told = time.monotonic()
        self._size = 0

    def begin(self, cast: Cast) -> None:
        """Say who takes part."""
        self._size = cast.size
        say(_who(cast))
        if cast.left:
            say(f"the source has more documents than these; --documents N takes more than {USUAL_DOCUMENTS:,}")

    def tell(self, count: int, seconds: float) -> None:
        """Say how many documents have ended."""
        now = time.monotonic()
        if self._size and now - self._told >= _PERIOD:
            self._told = now
            far = f"{count:,} of {counted(self._size, 'document')}, {seconds_text(seconds)} into the run"
            say(f"{now - self._begun:7.1f} s  {far}")


def _who(cast: Cast) -> str:
    worked_on = cast.size - len(cast.stand_ins)
    words = f"{counted(cast.size, 'document')}: the stages of {worked_on:,} run"
    if cast.stand_ins:
        words += f", {len(cast.stand_ins):,} stand in and send the same requests as one of those"
    if cast.repeats:
        words += f" ({cast.repeats:,} are repeats: the source has no more)"
    return words


def _money(spent: Spent) -> str:
    return "an unknown amount" if spent.unpriced else dollars(spent.micro_usd)


def _usd(spent: Spent) -> float | None:
    return None if spent.unpriced else spent.micro_usd / 1e6


def _plan_name(flags: RehearseFlags) -> str:
    path = plan_file(flags.faults)
    return flags.faults if path.parent == FOLDER else str(path)


def _as_text(ended: Rehearsal, config: PipelineConfig, flags: RehearseFlags) -> str:
    seen, result = ended.observed, ended.result
    lost = f"{ended.lost:,} lost" + (f", {ended.unfinished:,} not finished" if ended.unfinished else "")
    codes = ", ".join(f"{count:,} {code}" for code, count in seen.failures.most_common())
    slowest, name = seen.slowest
    ends = ", ".join(f"{count:,} {code}" for code, count in seen.endings.most_common() if code is not None)
    at_risk = ended.at_risk
    took = f"{seconds_text(result.duration_seconds)} of virtual time; the slowest document took {seconds_text(slowest)}"
    whose = f"{_money(seen.wasted)} for documents that were lost, {_money(seen.unconfirmed)} for requests"
    cost = f"cost {_money(seen.spent)}, at risk {_money(at_risk)}"
    faults = f"fault plan {one_line(_plan_name(flags), 200)}, seed {flags.seed}"
    lines = [
        f"rehearsal of {config.name}: {faults}; all of it simulated",
        f"documents:  {ended.finished:,} of {ended.cast.size:,} finished, {lost}{codes and f' ({codes})'}",
        f"requests:   {requests_in_words(result.usage.requests, result.usage.attempts)}{ends and f': {ends}'}",
        f"tokens:     {result.usage.charged_tokens:,} charged, {seen.unconfirmed.tokens:,} of them unconfirmed",
        f"time:       {took} ({one_line(name, 80)})",
        f"at risk:    {_money(at_risk)}: {whose} that nobody confirmed",
        f"with your settings: {lost}, {seen.retried:,} retried, {seconds_text(result.duration_seconds)}, {cost}",
    ]
    for position, line in enumerate(advice(ended, config)):
        lines.append(f"{'change:' if position == 0 else '':<11} {one_line(without_secrets(line), 700)}")
    return "".join(f"{line}\n" for line in lines)


def _as_object(ended: Rehearsal, config: PipelineConfig, flags: RehearseFlags, code: int) -> dict[str, object]:
    seen, result, cast = ended.observed, ended.result, ended.cast
    return {
        "config": os.fspath(config.path),
        "name": config.name,
        "faults": _plan_name(flags),
        "seed": flags.seed,
        "simulator": True,
        "exit_code": code,
        "outcome": result.outcome,
        "reason": result.reason,
        "documents": {
            "total": cast.size,
            "finished": ended.finished,
            "lost": ended.lost,
            "unfinished": ended.unfinished,
            "skipped": result.documents.skipped,
            "stand_ins": len(cast.stand_ins),
            "repeats": cast.repeats,
        },
        "failures": dict(seen.failures),
        "requests": result.usage.requests,
        "attempts": result.usage.attempts,
        "retried": seen.retried,
        "attempt_errors": {code: count for code, count in seen.endings.items() if code is not None},
        "wait_seconds": {reason: round(seconds, 3) for reason, seconds in seen.waits.items()},
        "tokens": {
            "charged": seen.spent.tokens,
            "unconfirmed": seen.unconfirmed.tokens,
            "at_risk": ended.at_risk.tokens,
        },
        "cost_usd": _usd(seen.spent),
        "at_risk_usd": _usd(ended.at_risk),
        "lost_usd": _usd(seen.wasted),
        "unconfirmed_usd": _usd(seen.unconfirmed),
        "duration_seconds": result.duration_seconds,
        "slowest_document_seconds": round(seen.slowest[0], 3),
        "advice": [one_line(without_secrets(line), 700) for line in advice(ended, config)],
    }
