"""The hub: programs name roles, a YAML file says which provider, model and params they stand for."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from agent_pipeline.bridge import Hosted, HostedLifetime
from agent_pipeline.config.budget_rules import budget_problems
from agent_pipeline.config.environment import require_api_key
from agent_pipeline.config.limits import LimitsConfig, parse_limits
from agent_pipeline.config.prices import find_price
from agent_pipeline.config.role_models import LLMMode, ResolvedCall, RuntimeConfig
from agent_pipeline.config.roles import load_runtime_config, resolve_role
from agent_pipeline.errors import ConfigError, LLMHubRuntimeError
from agent_pipeline.llmhub.calls import AfterCall, BeforeCall, Hooks, context_of
from agent_pipeline.llmhub.outlets import Inputs, Messages, Outlets, open_outlets
from agent_pipeline.llmhub.streams import AsyncCompletionStream, CompletionStream

if TYPE_CHECKING:
    from agent_pipeline.gateway import ConnectionPool

Override = Mapping[str, Any] | None

_ELSEWHERE = {
    "model": "a model is the role's; ask another role, or change the config",
    "messages": "messages are the call's own argument",
    "input": "input is embedding's own argument",
    "stream": "chunks come from stream_completion and astream_completion",
}
"""What an override might say for the sake of other libraries, and what says it here."""

Answer: TypeAlias = Any
"""What the provider's own client library makes of its answer."""


class LLMHub(HostedLifetime):
    """Calls models by role; one gate, one set of connections and one budget for all of them.

    Usable from ordinary code (`completion`), from Trio and from asyncio (`acompletion`), as often at once as you like.
    With `async with` under Trio its connections belong to your own run; everywhere else they live in a thread, from the
    first call until `close`, `aclose` or the end of the process. A call that is cancelled has ended, and is charged,
    before its caller goes on.

    Answers are the provider's own objects: those of the `openai` package, or what any-llm gives (extra `[providers]`)
    for providers that have neither a `base_url` nor an address we know.

    Args:
        config_path: a roles file.
        config_obj: or its content, loaded already; exactly one of the two.
        strict_env: whether every provider's key has to be set when the hub is made, not at its first call.
        on_before_call: told of each call, after its role was resolved.
        on_after_call: told how it ended, also when it failed. What a hook raises is logged and counted.
        strict_roles: whether the defaults cover no role that is not in the file.
        limits: as under `limits` in a pipeline file, those on documents aside.
        make_pool: makes the connections; for tests.

    Raises:
        ValueError: not exactly one source.
        TypeError: a source or a hook is of another type.
        ConfigError: the file or the limits can't be used.
        EnvVarMissingError: with `strict_env`, a key is not set, or empty.
    """

    def __init__(
        self,
        config_path: str | Path | None = None,
        config_obj: RuntimeConfig | None = None,
        strict_env: bool = False,  # noqa: FBT001, FBT002 - the documented signature
        on_before_call: BeforeCall | None = None,
        on_after_call: AfterCall | None = None,
        *,
        strict_roles: bool = False,
        limits: LimitsConfig | Mapping[str, Any] | None = None,
        make_pool: "Callable[[], ConnectionPool] | None" = None,
    ) -> None:
        self.config = _one_source(config_path, config_obj)
        if strict_env:
            for name, provider in self.config.providers.items():
                require_api_key(name, provider)
        self._strict_roles = strict_roles
        self._hooks = Hooks(on_before_call, on_after_call)
        kept = limits if isinstance(limits, LimitsConfig) else parse_limits({} if limits is None else limits)
        for path, problem in budget_problems(kept, self.config, find_price):
            raise ConfigError(problem, key=".".join(map(str, path)))
        runtime = self.config
        self._hosted: Hosted[Outlets] = Hosted(lambda: open_outlets(runtime, kept, make_pool), name="LLMHub")

    @property
    def hook_errors(self) -> int:
        """How often a hook raised."""
        return self._hooks.errors

    # --- ordinary code

    def completion(self, role: str, messages: Messages, params_override: Override = None) -> Answer:
        """Ask a role, and block until it has answered; return the provider's answer.

        Raises:
            LLMHubRuntimeError: the role can't be resolved, or is for something else; nothing was sent.
            LLMError: what retries could not cure.
        """
        call = self._resolve(role, params_override, _answers_in_words)
        with self._hooks.around(context_of(call, messages=messages)) as pending:
            return pending.answered(self._hosted.run_sync(Outlets.completion, call, messages))

    def embedding(self, role: str, input: Inputs, params_override: Override = None) -> Answer:  # noqa: A002 - as documented
        """Embed a text, or several, and block until that is done; errors as `completion`."""
        call = self._resolve(role, params_override, _embeds)
        with self._hooks.around(context_of(call, inputs=input)) as pending:
            return pending.answered(self._hosted.run_sync(Outlets.embedding, call, input))

    def stream_completion(self, role: str, messages: Messages, params_override: Override = None) -> CompletionStream:
        """Return the answer's chunks as they come; nothing is sent before the first is asked for."""
        return CompletionStream(
            self._hosted, self._hooks, self._resolve(role, params_override, _answers_in_words), messages
        )

    # --- Trio and asyncio

    async def acompletion(self, role: str, messages: Messages, params_override: Override = None) -> Answer:
        """Ask a role; return the provider's answer; errors as `completion`."""
        call = self._resolve(role, params_override, _answers_in_words)
        with self._hooks.around(context_of(call, messages=messages)) as pending:
            return pending.answered(await self._hosted.run(Outlets.completion, call, messages))

    async def aembedding(self, role: str, input: Inputs, params_override: Override = None) -> Answer:  # noqa: A002 - as documented
        """Embed a text, or several; errors as `completion`."""
        call = self._resolve(role, params_override, _embeds)
        with self._hooks.around(context_of(call, inputs=input)) as pending:
            return pending.answered(await self._hosted.run(Outlets.embedding, call, input))

    def astream_completion(
        self, role: str, messages: Messages, params_override: Override = None
    ) -> AsyncCompletionStream:
        """Return the answer's chunks as they come; nothing is sent before the first is asked for."""
        return AsyncCompletionStream(
            self._hosted, self._hooks, self._resolve(role, params_override, _answers_in_words), messages
        )

    def _resolve(self, role: str, override: Override, suits: Callable[[LLMMode], str | None]) -> ResolvedCall:
        _check_call(role, override)
        call = resolve_role(self.config, role, override, strict_roles=self._strict_roles)
        problem = suits(call.mode)
        if problem is not None:
            msg = f"role {role!r} has mode {call.mode.value}: {problem}"
            raise LLMHubRuntimeError(msg)
        provider = self.config.providers[call.provider]
        if provider.base_url is None:  # one on this machine needs no key
            require_api_key(call.provider, provider)
        return call


def _one_source(path: object, config: object) -> RuntimeConfig:
    if (path is None) == (config is None):
        msg = "exactly one of config_path and config_obj is wanted"
        raise ValueError(msg)
    if isinstance(config, RuntimeConfig):
        return config
    if isinstance(path, str | PathLike):
        return load_runtime_config(Path(path))
    name, given = ("config_path", path) if config is None else ("config_obj", config)
    wanted = "the path of a roles file" if config is None else "what load_runtime_config returns"
    todo = ""
    if isinstance(given, Mapping):
        todo = "; a mapping goes through parse_runtime_config first, whose result is a config_obj"
    elif isinstance(given, RuntimeConfig):
        todo = "; give it as config_obj"
    elif isinstance(given, str | PathLike):
        todo = "; give it as config_path"
    msg = f"{name} is {wanted}, not {type(given).__name__}{todo}"
    raise TypeError(msg)


def _check_call(role: object, override: object) -> None:
    """Refuse what is no role's name, and an override of what is not a param; nothing was sent."""
    if not isinstance(role, str):
        msg = f"role is a text, the name of a role, not {role!r}"
        raise TypeError(msg)
    if override is None:
        return
    if not isinstance(override, Mapping):
        msg = f"params_override is a mapping, such as {{'temperature': 0}}, not {override!r}"
        raise TypeError(msg)
    for name, place in _ELSEWHERE.items():
        if name in override:
            raise ConfigError(f"no param of a call: {place}", key=f"params_override.{name}")


def _answers_in_words(mode: LLMMode) -> str | None:
    if mode is LLMMode.embedding:
        return "ask it for an embedding"
    return "a hub has no such calls" if mode in {LLMMode.image, LLMMode.audio} else None


def _embeds(mode: LLMMode) -> str | None:
    return None if mode is LLMMode.embedding else "ask it for a completion"
