"""The `claude` command as a model: one process per attempt, behind a gate like any request."""

import errno
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from agent_pipeline.adapters.claude_output import Reading, read_output
from agent_pipeline.adapters.gated import GatedAdapter, Limits, Tally, read_limits
from agent_pipeline.adapters.process import feed_and_read, open_group
from agent_pipeline.adapters.values import LLMAnswer, RunConfig
from agent_pipeline.config.environment import environment_secrets
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.call import Attempt, Call, fingerprint_of
from agent_pipeline.control.scope import current_scope
from agent_pipeline.errors import (
    AgentPipelineError,
    AnswerTooLargeError,
    CommandNotFoundError,
    LLMConfigError,
    LocalResourceError,
)
from agent_pipeline.gateway import make_gate
from agent_pipeline.telemetry import SecretValues

MOST_OUTPUT_BYTES = 16 * 1024 * 1024
"""Of one answer, as for HTTP."""

USUAL_LIMITS: Mapping[str, object] = {
    "requests_in_flight": {"start": 4, "min": 1, "max": 8},  # each is a process of some hundred megabytes
    "timeouts": {"attempt": 600},
}

PASSED_ON = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_BASE_URL"),
        *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    }
)
"""Variables of this process that the command gets, and those that begin with `LC_`; no other key leaves."""

_PROVIDER = "claude-code"
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


@dataclass(frozen=True, slots=True)
class _Settings:
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    model: str | None
    max_turns: int
    tokens_per_call: int | None
    directory: str | None
    environment: Mapping[str, str]
    grace: float
    limits: LimitsConfig


class ClaudeCodeAdapter(GatedAdapter):
    """Asks by the `claude` command: prompt on its standard input, one JSON object on its standard output.

    The command adds a system prompt and tools of its own, over several turns, so that no figure bounds its tokens from
    outside: a call with a tracker needs `tokens_per_call`. What it reports beyond that is charged all the same, and may
    pass the cap.

    On cancellation and timeout the command and its children get SIGTERM, after `grace` seconds SIGKILL.

    Args:
        model: None leaves the choice to the command.
        command: the program, or a program and its first arguments.
        arguments: more of them, such as `("--allowedTools", "Read")`.
        max_turns: of the agent inside.
        max_tokens: output cap of each of its requests.
        tokens_per_call: the most that one call can use, in all its turns.
        directory: the working directory; None is this process's.
        environment: variables for the command, over the few that it gets from this process (`PASSED_ON`).
        grace: seconds.
        limits: as `limits` of a pipeline file.

    Raises:
        LLMConfigError: a setting that can't be.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        command: str | Sequence[str] = "claude",
        arguments: Sequence[str] = (),
        max_turns: int = 1,
        max_tokens: int | None = None,
        tokens_per_call: int | None = None,
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        grace: float = 2.0,
        limits: Limits | None = None,
    ) -> None:
        if max_turns < 1 or grace < 0 or (tokens_per_call is not None and tokens_per_call < 1):
            raise LLMConfigError("max_turns and tokens_per_call are positive numbers, grace is not negative")
        settings = _Settings(
            command=(command,) if isinstance(command, str) else tuple(command),
            arguments=tuple(arguments),
            model=model,
            max_turns=max_turns,
            tokens_per_call=tokens_per_call,
            directory=directory,
            environment=_environment(os.environ, environment or {}),
            grace=grace,
            limits=read_limits(limits, USUAL_LIMITS),
        )
        tally = Tally()
        super().__init__(partial(_open_runner, settings, tally), tally=tally, max_tokens=max_tokens)
        self._tokens_per_call = tokens_per_call

    def worst_case_tokens(self, prompt: str, config: RunConfig) -> int:  # noqa: ARG002  (the signature is the base's)
        """Return `tokens_per_call`.

        Raises:
            LLMConfigError: it is not set.
        """
        if self._tokens_per_call is None:
            raise LLMConfigError(
                "ClaudeCodeAdapter: a call with a budget_tracker needs tokens_per_call, the most tokens that one call "
                "can use in all its turns; nothing else bounds what the command asks for"
            )
        return self._tokens_per_call


class _Runner:
    """Runs the command, under Trio."""

    def __init__(self, settings: _Settings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._secrets = SecretValues(environment_secrets(settings.environment))
        self._gate = make_gate(settings.limits, budget=RunBudget(), record=tally.record, closes_for_good=False)

    async def ask(self, prompt: str, config: RunConfig) -> LLMAnswer:
        """Make one call."""
        settings = self._settings
        command, environment = self._command(config), self._variables(config)
        stdin = prompt.encode()
        call = Call(
            role=_PROVIDER,
            provider=_PROVIDER,
            model=config.model or settings.model or "default",
            method="RUN",
            path=settings.command[0],
            input_tokens_bound=len(stdin) if settings.tokens_per_call is None else settings.tokens_per_call,
            output_tokens_cap=(config.max_tokens or 0) if settings.tokens_per_call is None else 0,
            price=None,
            scope=current_scope(),
            fingerprint=fingerprint_of(*command, content=stdin),
        )
        return await self._gate.call(call, partial(self._attempt, command, environment, stdin))

    async def _attempt(
        self, command: Sequence[str], environment: Mapping[str, str], stdin: bytes, attempt: Attempt
    ) -> LLMAnswer:
        settings = self._settings
        try:
            group = open_group(command, environment=environment, directory=settings.directory, grace=settings.grace)
            async with group as process:
                attempt.dispatch()
                finished = await feed_and_read(process, stdin, most_bytes=MOST_OUTPUT_BYTES)
        except OSError as exc:
            raise self._not_started(exc) from exc
        if finished.overflowed:
            raise AnswerTooLargeError(f"claude wrote more than {MOST_OUTPUT_BYTES} bytes and was ended")
        reading = read_output(finished, self._secrets.text(finished.stderr.decode("utf-8", "replace")))
        attempt.status_code = reading.status_code
        return self._judge(reading, attempt)

    def _judge(self, reading: Reading, attempt: Attempt) -> LLMAnswer:
        """Count first, as a failure may be billed too."""
        result = reading.result
        if result is not None:
            attempt.usage = result.reported
            self._tally.add_cost(result.cost_micro_usd or 0)
        if reading.error is not None:
            raise reading.error
        assert result is not None  # noqa: S101  (no error: there is one)
        models = ", ".join(result.models) or self._settings.model or ""
        return LLMAnswer(result.result or "", result.reported, models, result.cost_micro_usd, raw=result)

    def _command(self, config: RunConfig) -> list[str]:
        settings = self._settings
        if config.temperature is not None or config.params:
            raise LLMConfigError("ClaudeCodeAdapter: the claude command takes neither temperature nor params")
        command = [*settings.command, "-p", "--output-format", "json", "--max-turns", str(settings.max_turns)]
        model = config.model or settings.model
        if model is not None:
            command += ["--model", model]
        if config.system is not None:
            command += ["--append-system-prompt", config.system]
        return [*command, *settings.arguments]

    def _variables(self, config: RunConfig) -> Mapping[str, str]:
        cap = {} if config.max_tokens is None else {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(config.max_tokens)}
        return {**self._settings.environment, **cap}

    def _not_started(self, exc: OSError) -> AgentPipelineError:
        program, directory = self._settings.command[0], self._settings.directory
        if exc.errno in _OUT_OF_RESOURCES:
            return LocalResourceError(f"this machine has no room for one more process: {exc.strerror}")
        if directory is not None and exc.filename == directory:
            return LLMConfigError(f"ClaudeCodeAdapter: the directory {directory} can't be entered: {exc.strerror}")
        if exc.errno == errno.E2BIG:
            return LLMConfigError("ClaudeCodeAdapter: the system prompt and the arguments are too long for a command")
        return CommandNotFoundError(
            f"the command {program} can't be run: {exc.strerror}; install Claude Code "
            "(https://code.claude.com/docs) or give ClaudeCodeAdapter(command=...) its path"
        )


@asynccontextmanager
async def _open_runner(settings: _Settings, tally: Tally) -> AsyncGenerator[_Runner]:
    yield _Runner(settings, tally)


def _environment(own: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    passed = {name: value for name, value in own.items() if name in PASSED_ON or name.startswith("LC_")}
    return {**passed, **given}
