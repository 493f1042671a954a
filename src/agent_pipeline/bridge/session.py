"""One document's agents: their loop and their trace."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import agents as sdk
import trio
import trio_asyncio
from agents.tracing.scope import Scope
from trio_asyncio._base import BaseTrioEventLoop

from agent_pipeline.bridge.failures import own_errors
from agent_pipeline.bridge.loop import host_loop
from agent_pipeline.domain.events import AgentEvent
from agent_pipeline.errors import AgentRunError

if TYPE_CHECKING:
    from agent_pipeline.bridge.agents import AgentBridge

MAX_TURNS = 10


class DocumentSession:
    """Runs a document's agents in the document's own loop; opened by `AgentBridge.document`.

    The loop lives in a task of the document's nursery, beside the stages and outside their deadlines: a stage that
    runs out of time cancels its agent and leaves the loop to the stages after it.
    """

    def __init__(self, bridge: "AgentBridge", document_id: str, trace_id: str | None, nursery: trio.Nursery) -> None:
        self._bridge = bridge
        self._document_id = document_id
        self._trace_id = trace_id
        self._nursery = nursery
        self._done = trio.Event()
        self._opening = trio.Lock()
        self._loop: BaseTrioEventLoop | None = None
        self._trace: sdk.Trace | None = None

    async def run_agent(
        self,
        agent_or_role: object,
        prompt: str,
        *,
        output_type: type[Any] | None = None,
        tools: Sequence[object] = (),
        max_turns: int = MAX_TURNS,
    ) -> Any:
        """Run an agent to its final output; call it under Trio, as often at once as you like.

        Raises:
            AgentPipelineError: always one of ours; nothing of asyncio's or the SDK's gets out.

        On cancellation the agent's task is cancelled and awaited; its requests are charged by the gate.
        """
        name = getattr(agent_or_role, "name", agent_or_role)
        with own_errors(str(name)):
            agent = self._bridge.agent(agent_or_role, output_type, tools)
        loop = await self._open()
        try:
            return await loop.run_aio_coroutine(self._run(agent, prompt, max_turns))
        except asyncio.CancelledError as exc:  # Trio's own cancellation arrives as trio.Cancelled
            msg = f"agent {agent.name} cancelled itself"
            raise AgentRunError(msg) from exc

    async def _open(self) -> BaseTrioEventLoop:
        async with self._opening:
            if self._trace is None:
                self._trace = sdk.trace(
                    self._bridge.workflow,
                    trace_id=self._trace_id,
                    group_id=f"doc-{self._document_id}",
                    metadata={"run_id": self._bridge.run_id, "document_id": self._document_id},
                )
                self._trace.start()
            if self._loop is None:
                self._loop = await self._nursery.start(self._host)
                self._loop.set_default_executor(self._bridge.threads)
            return self._loop

    async def _host(self, task_status: trio.TaskStatus[BaseTrioEventLoop]) -> None:
        self._bridge.loops.opened += 1
        try:
            await host_loop(self._done, self._report, self._bridge.tasks, task_status)
        finally:
            self._bridge.loops.closed += 1

    def _report(self, line: str) -> None:
        self._bridge.emit(AgentEvent("loop_error", self._document_id, None, agent="", detail=line))

    async def _run(self, agent: sdk.Agent[Any], prompt: str, max_turns: int) -> Any:
        """Run the agent under asyncio, in a task whose context is its own; errors become ours here, inside the loop."""
        bridge = self._bridge
        # This task was made from outside the loop's own context, where `trio_as_aio` looks for its way back.
        here: Any = trio_asyncio.current_loop
        here.set(self._loop)
        Scope.set_current_trace(self._trace)
        with own_errors(agent.name):
            result = await sdk.Runner.run(
                agent, prompt, max_turns=max_turns, hooks=bridge.hooks, run_config=bridge.run_config
            )
        return result.final_output

    def close(self) -> None:
        """Finish the trace and let the loop end; needs no checkpoint, so it also holds under cancellation."""
        if self._trace is not None:
            self._trace.finish()
        self._done.set()
