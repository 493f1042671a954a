"""Agents of libraries that need asyncio, told by what they are; nothing is imported that is not there already."""

import asyncio
import math
import sys
from collections.abc import Awaitable
from typing import Any, Literal

import trio

from agent_pipeline.bridge.crossing import current_flavour

GuestKind = Literal["agents", "pydantic_ai"]
"""The Agents SDK's, PydanticAI's."""


def guest_kind(agent: object) -> GuestKind | None:
    """Return whose agent this is; None for one of no library that is known here.

    Whoever made an agent has imported its library. A package of the user's own may be called `agents` too.
    """
    sdk = sys.modules.get("agents")
    of_sdk = getattr(sdk, "Agent", None)
    if isinstance(of_sdk, type) and hasattr(sdk, "Runner") and isinstance(agent, of_sdk):
        return "agents"
    if any(kind.__module__.partition(".")[0] == "pydantic_ai" for kind in type(agent).__mro__):
        return "pydantic_ai"
    return None


async def run_sdk_agent(agent: Any, prompt: str) -> tuple[Any, Any]:
    """Run an agent of the Agents SDK under asyncio; return its final output and its usage.

    The SDK makes no retries of its own. Tracing is as the program that uses the SDK has set it up.
    """
    import agents as sdk  # noqa: PLC0415 - seconds, and only who made an agent has them behind them already

    no_retries = sdk.ModelRetrySettings(max_retries=1, policy=lambda _context: False)
    config = sdk.RunConfig(model_settings=sdk.ModelSettings(retry=no_retries))
    result = await sdk.Runner.run(agent, prompt, run_config=config)
    return result.final_output, result.context_wrapper.usage


def counting_usage(agent: Any, prompt: str) -> tuple[Any, Awaitable[Any]]:
    """Begin a run of a PydanticAI agent; return what counts its tokens as it goes on, and the run to await."""
    import pydantic_ai  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - an extra

    usage = pydantic_ai.RunUsage()
    return usage, agent.run(prompt, usage=usage)


async def sleep_where_called(seconds: float) -> None:
    """Sleep under Trio or asyncio, whichever this runs under; inf sleeps until it is cancelled."""
    if current_flavour() == "trio":
        await trio.sleep(seconds)
    elif seconds == math.inf:
        await asyncio.get_running_loop().create_future()
    else:
        await asyncio.sleep(seconds)
