"""One attempt of an item's own code, in the caller's loop or a guest's: an output, or what went wrong, with tokens."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from agent_pipeline.batch.calling import call_either
from agent_pipeline.batch.items import LLMWorkItem, check_agent
from agent_pipeline.batch.usage_reading import read_usage, usage_of_error, usage_of_reply
from agent_pipeline.bridge import AsyncioThread, Caller
from agent_pipeline.bridge.guests import GuestKind, counting_usage, guest_kind, run_sdk_agent
from agent_pipeline.domain.usage import Usage

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")


class _Runs(Protocol):
    """What an agent of no known library has to have."""

    def run(self, prompt: str, /) -> Awaitable[object]: ...


@dataclass(frozen=True)  # slots and generic: Python 3.11 can't make those by `Name[...](...)`
class Reply(Generic[TOutput]):
    """How one attempt ended: with an output, or an error that is still foreign; and the tokens it told of."""

    output: TOutput | None = None
    usage: Usage | None = None
    error: Exception | None = None


class Invocation(Generic[TInput, TOutput, TContext]):
    """Calls items' code where it belongs: their own functions where the batch was opened, under Trio or asyncio.

    Agents of libraries that need asyncio run in the caller's loop too, or, for a caller under Trio, in one lasting
    loop in a thread, because their clients' connections are bound to the loop they were opened in.

    Args:
        caller: who opened the batch.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._thread = AsyncioThread()

    async def call(self, item: LLMWorkItem[TInput, TOutput, TContext], attempt: int, timeout: float) -> Reply[TOutput]:
        """Make one attempt, under Trio; on cancellation it is cancelled and awaited."""
        if item.direct_call is not None:
            return await self._caller.run(_call_directly, item, attempt, timeout)
        agent = item.agent
        if item.agent_factory is not None:
            made = await self._caller.run(_make_agent, item.agent_factory, attempt)
            if isinstance(made, Reply):
                return cast("Reply[TOutput]", made)
            agent = made
        kind = guest_kind(agent)
        if kind is not None and self._caller.loop is None:
            reply = await self._thread.run(_run_agent, agent, kind, item.prompt)
        else:
            reply = await self._caller.run(_run_agent, agent, kind, item.prompt)
        return cast("Reply[TOutput]", reply)  # what an agent puts out is what its item says it does

    def close(self) -> None:
        """End the guests' loop; blocks until its thread has ended."""
        self._thread.close()


async def _call_directly(item: LLMWorkItem[TInput, TOutput, TContext], attempt: int, timeout: float) -> Reply[TOutput]:
    call = item.direct_call
    if call is None:
        msg = f"item {item.item_id} has no direct_call"
        raise ValueError(msg)
    try:
        begun: object = call(attempt, timeout)
        if not inspect.isawaitable(begun):
            error = TypeError(f"direct_call is an async function; this one returned {type(begun).__name__} at once")
            return Reply(error=error)
        returned: object = await begun
    except Exception as exc:  # noqa: BLE001 - classified by whoever asked, on the other side of the threads' border
        return Reply(usage=usage_of_error(exc), error=exc)
    if not isinstance(returned, tuple) or len(returned) != 2:
        error = TypeError(f"direct_call returns (output, tokens), not {type(returned).__name__}")
        return Reply(error=error)
    output, tokens = returned
    return Reply(output, read_usage(tokens))


async def _make_agent(factory: Callable[[int], object], attempt: int) -> object:
    try:
        made = await call_either(factory, attempt)
        check_agent(made, "what agent_factory made: ")
    except Exception as exc:  # noqa: BLE001 - as above
        return Reply[object](error=exc)
    return made


async def _run_agent(agent: object, kind: GuestKind | None, prompt: str) -> Reply[object]:
    counted: object = None
    try:
        if kind == "agents":
            output, usage = await run_sdk_agent(agent, prompt)
            return Reply(output, read_usage(usage))
        if kind == "pydantic_ai":
            # Counts request by request, so that a run that fails has told what it used.
            counted, reply = counting_usage(agent, prompt)
            result = await reply
        else:
            result = await cast("_Runs", agent).run(prompt)
        return Reply(_output_of(result), usage_of_reply(result))
    except Exception as exc:  # noqa: BLE001 - as above
        return Reply(usage=read_usage(counted) or usage_of_error(exc), error=exc)


def _output_of(result: object) -> object:
    for name in ("output", "data", "final_output"):
        if hasattr(result, name):
            return getattr(result, name)
    msg = f"an agent's result has an output, and a {type(result).__name__} has none"
    raise TypeError(msg)
