"""`roles test`: one tiny call by a role, through the gate, with what it took and cost; or the error and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from agent_pipeline import gateway as gateways  # imported at the first call
from agent_pipeline.amounts import dollars, seconds_text
from agent_pipeline.cli.commands.before.roles import RolesInUse, load_roles
from agent_pipeline.cli.commands.hidden import print_hidden, shown
from agent_pipeline.cli.layout import labelled, print_lines
from agent_pipeline.cli.output import say
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, OK, UNREACHABLE, exit_code_of
from agent_pipeline.config.environment import FOR_A_COMMAND
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.role_models import LLMMode, ResolvedCall, RoleConfig, RuntimeConfig
from agent_pipeline.config.roles import resolve_role
from agent_pipeline.config.validation import nearest
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import AgentPipelineError, InputError
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.endpoints import real_endpoints, simulated_endpoints
from agent_pipeline.gateway.inprocess import BASE_URL, simulator_pool
from agent_pipeline.runs.advice import advice_on
from agent_pipeline.simulator import Simulator

PROMPT = "Answer with one word: ready"
PATIENCE = 60.0
"""Seconds that a trial may take in all, pauses that a provider asks for included."""

_ASKED = {
    LLMMode.chat: "an answer",
    LLMMode.tool: "an answer",
    LLMMode.other: "an answer",
    LLMMode.embedding: "an embedding",
}


@dataclass(slots=True)
class _Trial:
    """What became of the one call.

    Attributes:
        attempts: its HTTP attempts that ended.
        error: None where it was answered.
    """

    call: ResolvedCall
    offline: bool
    attempts: list[AttemptRecord]
    answer: str = ""
    error: AgentPipelineError | None = None
    timed_out: bool = False

    def record(self, attempt: AttemptRecord) -> None:
        """Take an attempt that has ended."""
        if attempt.outcome is not None:
            self.attempts.append(attempt)


def try_role(role: str, config: Path | None, *, offline: bool, as_json: bool) -> int:
    """Make one tiny call and print what came of it; return 0 if it was answered, else the exit code of its error.

    A fallback is not asked: it would hide what is wrong with the role. A call is made once, and not repeated.

    Raises:
        ConfigError: a file is wrong, or not there.
        UnknownRoleError: there is no such role, and no defaults for it.
        EnvVarMissingError: the key is not set; nothing was sent.
        InputError: roles of this mode can't be tried by a call.
    """
    roles = load_roles(config)
    # Defaults cover any name, also a misspelt one: trying that would only look as if the role worked.
    call = resolve_role(roles.runtime, role, strict_roles=nearest(role, roles.runtime.roles) is not None)
    if call.mode not in _ASKED:
        raise InputError(f"role {role!r} has mode {call.mode.value}: only roles that answer or embed can be tried")
    alone = _alone(roles.runtime, role, call)
    endpoints = simulated_endpoints(alone, BASE_URL) if offline else real_endpoints(alone, FOR_A_COMMAND)
    if offline:
        say("offline: the embedded simulator answers, by rules; it is no model")
    trial = _Trial(call, offline, [])
    trio.run(_try, trial, replace(roles, runtime=alone), endpoints, strict_exception_groups=True)
    code = _exit_code(trial)
    if as_json:
        print_hidden(_as_object(trial, code))
    else:
        print_lines(_lines(trial))
    return code


def _alone(runtime: RuntimeConfig, name: str, call: ResolvedCall) -> RuntimeConfig:
    """Return the role by itself: no other's key is needed, and no fallback answers in its place."""
    own = runtime.roles.get(name) or RoleConfig(
        provider=call.provider, model=call.model, mode=call.mode, params=call.params
    )
    return runtime.model_copy(update={"roles": {name: own.model_copy(update={"fallback": None})}, "defaults": None})


async def _try(trial: _Trial, roles: RolesInUse, endpoints: Mapping[str, Endpoint]) -> None:
    limits = _once(roles.limits)
    gate = gateways.make_gate(limits, budget=gateways.make_budget(limits, roles.runtime), record=trial.record)
    make_pool = (lambda: simulator_pool(Simulator())) if trial.offline else gateways.ConnectionPool
    with trio.move_on_after(PATIENCE) as scope:
        async with gateways.open_gateway(
            roles.runtime, endpoints, limits, gate=gate, make_pool=make_pool, price_of=roles.price_of
        ) as gateway:
            try:
                trial.answer = await _ask(gateway, trial.call)
            except AgentPipelineError as exc:
                trial.error = exc
    trial.timed_out = scope.cancelled_caught


async def _ask(gateway: "gateways.Gateway", call: ResolvedCall) -> str:
    if call.mode is not LLMMode.embedding:
        return await gateway.role(call.role).ask(PROMPT)
    answered = await gateways.RawCalls(gateway).embedding(call, PROMPT)
    return f"an embedding of {len(answered.data[0].embedding):,} numbers"


def _once(limits: LimitsConfig) -> LimitsConfig:
    return limits.model_copy(update={"retry": limits.retry.model_copy(update={"max_attempts": 1})})


def _exit_code(trial: _Trial) -> int:
    if trial.timed_out:
        return UNREACHABLE
    if trial.error is None:
        return OK
    if trial.error.code in {"provider_unreachable", "connection_lost", "attempt_timeout"}:
        return UNREACHABLE
    return exit_code_of(trial.error.code) or DOCUMENTS_FAILED


def _lines(trial: _Trial) -> list[str]:
    call, simulated = trial.call, ", simulated" if trial.offline else ""
    lines = [f"role {shown(call.role)}: {_verdict(trial)}{simulated}"]
    lines += labelled("model:", [f"{shown(call.provider)}/{shown(call.model)}, mode {call.mode.value}"])
    for attempt in trial.attempts:
        status = "no answer" if attempt.status_code is None else f"status {attempt.status_code}"
        waited = f", after {seconds_text(attempt.wait_seconds)} of waiting" if attempt.wait_reason else ""
        lines += labelled("attempt:", [f"{status} in {seconds_text(attempt.latency_seconds)}{waited}"])
    last = trial.attempts[-1] if trial.attempts else None
    if last is not None and last.usage is not None:
        lines += labelled("tokens:", [f"{last.usage.input_tokens:,} in, {last.usage.output_tokens:,} out"])
        cost = dollars(last.cost_micro_usd or 0, known=last.cost_micro_usd is not None)
        lines += labelled("cost:", [f"nothing (simulated; it would have cost {cost})" if trial.offline else cost])
    if trial.answer:
        lines += labelled("answer:", [shown(trial.answer, 200)])
    if trial.error is not None:
        lines += labelled("error:", [f"{trial.error.code}: {shown(str(trial.error), 500)}"])
        lines += labelled("to do:", [advice_on(trial.error.code).todo])
    return lines


def _verdict(trial: _Trial) -> str:
    if trial.timed_out:
        return f"not answered within {PATIENCE:.0f} s"
    return "failed" if trial.error is not None else "works"


def _as_object(trial: _Trial, code: int) -> dict[str, object]:
    last = trial.attempts[-1] if trial.attempts else None
    usage = None if last is None else last.usage
    error = trial.error
    found: dict[str, object] = {
        "role": trial.call.role,
        "provider": trial.call.provider,
        "model": trial.call.model,
        "mode": trial.call.mode.value,
        "works": code == OK,
        "simulator": trial.offline,
        "attempts": len(trial.attempts),
        "latency_seconds": None if last is None else last.latency_seconds,
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "cost_usd": None if last is None or last.cost_micro_usd is None else last.cost_micro_usd / 1_000_000,
        "answer": trial.answer,
        "exit_code": code,
    }
    if trial.timed_out:
        return found | {"error": {"code": "timed_out", "message": _verdict(trial)}}
    if error is not None:
        return found | {"error": {"code": error.code, "message": str(error)}, "todo": advice_on(error.code).todo}
    return found
