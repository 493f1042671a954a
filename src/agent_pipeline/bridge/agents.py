"""Everything about Agents SDK runs that is the same for all documents of a run."""

import copy
import dataclasses
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import agents as sdk
import trio
from trio_asyncio import trio_as_aio

from agent_pipeline.bridge.hooks import LifecycleEvents
from agent_pipeline.bridge.loop import TaskCount
from agent_pipeline.bridge.models import RoleProvider
from agent_pipeline.bridge.session import DocumentSession
from agent_pipeline.bridge.threads import ToolThreads
from agent_pipeline.domain.own_error import own_error_in
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import AgentRunError
from agent_pipeline.gateway.roles import RoleClient

NO_RETRIES = sdk.ModelRetrySettings(max_retries=1, policy=lambda _context: False)
"""The gate is the one owner of retries, and this wins over what any agent of a run asks for.

`max_retries=0` would do too, but then the SDK copies the OpenAI client for each request.
"""

_WITH_A_CLIENT = (sdk.OpenAIResponsesModel, sdk.OpenAIChatCompletionsModel)
"""Models that ask a provider themselves, past the gate."""

MOST_KEPT = 256
"""Output types, and agents made from roles, kept at once; a stage may make a type for each document."""


class AgentBridge:
    """Opens one session per document; holds what they share: models, hooks, run config, agents made from roles.

    Args:
        find_role: by name.
        emit: takes lifecycle events.
        workflow: name of the traces.
        run_id: goes into each trace.
        include_texts: whether prompts and answers may go into traces.
    """

    def __init__(
        self,
        *,
        find_role: Callable[[str], RoleClient],
        emit: Emit,
        workflow: str,
        run_id: str,
        include_texts: bool = False,
    ) -> None:
        self.find_role = find_role
        self.emit = emit
        self.workflow = workflow
        self.run_id = run_id
        self.hooks = LifecycleEvents(emit)
        self.threads = ToolThreads(emit)
        self.run_config = sdk.RunConfig(
            model_provider=RoleProvider(find_role),
            model_settings=sdk.ModelSettings(retry=NO_RETRIES),
            trace_include_sensitive_data=include_texts,
            workflow_name=workflow,
        )
        self._of_role: Any = functools.lru_cache(MOST_KEPT)(self._make_agent)
        self.loops = TaskCount()
        self.tasks = TaskCount()

    @property
    def loops_opened(self) -> int:
        """Documents' loops opened so far, in all revisions together."""
        return self.loops.opened

    @property
    def loops_closed(self) -> int:
        """Those of them that are closed."""
        return self.loops.closed

    def revised(self, find_role: Callable[[str], RoleClient]) -> "AgentBridge":
        """Return a bridge with other roles that counts and tells together with this one; this one stays as it is."""
        other = copy.copy(self)
        other.find_role = find_role
        other.run_config = dataclasses.replace(self.run_config, model_provider=RoleProvider(find_role))
        other._of_role = functools.lru_cache(MOST_KEPT)(other._make_agent)
        return other

    def agent(self, agent_or_role: object, output_type: type[Any] | None, tools: Sequence[object]) -> sdk.Agent[Any]:
        """Return the agent to run: the given one, or one made from a role; with output type and tools added.

        Raises:
            AgentRunError: it is neither an agent nor a role's name.
            UnknownRoleError: no such role.
        """
        if isinstance(agent_or_role, sdk.Agent):
            if isinstance(agent_or_role.model, _WITH_A_CLIENT):
                raise AgentRunError(
                    f"agent {agent_or_role.name}: name a role as its model; a client of its own has no limits"
                )
            changes: dict[str, Any] = {}
            if output_type is not None:
                changes["output_type"] = _schema(output_type)
            if tools:
                changes["tools"] = [*agent_or_role.tools, *map(as_tool, tools)]
            return agent_or_role.clone(**changes) if changes else agent_or_role
        if not isinstance(agent_or_role, str):
            raise AgentRunError(f"run_agent wants an Agent or a role's name, not {type(agent_or_role).__name__}")
        known: sdk.Agent[Any] = self._of_role(agent_or_role, output_type)
        # The SDK looks through all runs under way of one agent at every step, so each run gets an object of its own.
        return known.clone(tools=[as_tool(tool) for tool in tools]) if tools else copy.copy(known)

    def _make_agent(self, role_name: str, output_type: type[Any] | None) -> sdk.Agent[Any]:
        role = self.find_role(role_name)
        return sdk.Agent(
            name=role_name,
            instructions=role.instructions,
            model=role_name,
            model_settings=_NoSettings(),
            output_type=None if output_type is None else _schema(output_type),
        )

    @asynccontextmanager
    async def document(self, document_id: str, *, trace_id: str | None = None) -> AsyncGenerator[DocumentSession]:
        """Open a document's session; its loop is opened at the first agent and closed when the block ends.

        What the block raises comes out as it is. Closing can't be cancelled: what the block has done stays done.

        Args:
            document_id: whose agents these are.
            trace_id: for the document's trace, `trace_` and 32 letters or digits; None lets the SDK make one.
        """
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            session = DocumentSession(self, document_id, trace_id, nursery)
            try:
                yield session
            except Exception as exc:  # noqa: BLE001 - carried around the nursery, which would wrap it
                failure = exc
            except BaseException:
                session.close()
                raise
            session.close()
            nursery.cancel_scope.shield = True
        if failure is not None:
            raise failure


class _NoSettings(sdk.ModelSettings):
    """The settings of a role's own agent, which has none: they are its role's.

    The SDK writes an agent down in whole, twice a run, to tell it from others of the same name; a twentieth of what a
    one-call document costs. Of what can be called it takes the name only.
    """

    def __call__(self) -> None:
        """Do nothing: nobody calls it."""

    def resolve(self, override: sdk.ModelSettings | dict[str, Any] | None) -> sdk.ModelSettings:
        """Return those of the run as they are, which is what laying them over nothing comes to."""
        return override if isinstance(override, sdk.ModelSettings) else super().resolve(override)


def _make_schema(output_type: type[Any]) -> Any:
    """Build the SDK's schema of a type; the SDK would at every turn, half a millisecond each time."""
    return output_type if output_type is str else sdk.AgentOutputSchema(output_type)


_schema: Any = functools.lru_cache(MOST_KEPT)(_make_schema)


def as_tool(tool: Any) -> Any:
    """Make a function tool of a plain function; an async one is a Trio function and is called under Trio.

    What is no plain function is the SDK's own kind of tool and stays as it is. Errors of ours raised in a tool end the
    agent's run, and so does `sys.exit`; all others are told to the model, as the SDK does.
    """
    if not inspect.isfunction(tool) and not inspect.ismethod(tool):
        return tool
    function: Any = tool
    if inspect.iscoroutinefunction(tool):

        @functools.wraps(tool)
        async def hop(*args: Any, **kwargs: Any) -> Any:
            return await trio_as_aio(tool)(*args, **kwargs)

        function = hop
    return sdk.function_tool(function, failure_error_function=_tell_model)


def _tell_model(_context: Any, error: Exception) -> str:
    own = own_error_in(error)
    if own is not None:
        raise own
    return f"The tool failed: {type(error).__name__}: {error}"
