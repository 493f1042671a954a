"""The border for errors: whatever an agent's run raises, only errors of ours and cancellation get past it."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import trio
from agents.exceptions import AgentsException, ModelBehaviorError, ModelRefusalError

from agent_pipeline.domain.own_error import own_error_in
from agent_pipeline.errors import (
    AgentPipelineError,
    AgentRunError,
    IncompleteAnswerError,
    ModelProtocolError,
    OutputInvalidError,
)


@contextmanager
def own_errors(agent: str) -> Generator[None]:
    """Turn what the block raises into an error of ours; cancellation and KeyboardInterrupt pass as they are.

    Also `SystemExit` becomes one: raised in an asyncio task it would end the loop under everybody in it.
    """
    try:
        yield
    except (asyncio.CancelledError, trio.Cancelled, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:
        error = own_error_in(exc)
        if error is exc:
            raise
        if error is not None:
            raise error from error.__cause__  # `from exc` would make a circle: it is inside `exc`
        raise _made_ours(exc, agent) from exc


def _made_ours(exc: BaseException, agent: str) -> AgentPipelineError:
    if isinstance(exc, BaseExceptionGroup):
        return _made_ours(exc.exceptions[0], agent)
    if isinstance(exc, ModelRefusalError):
        return IncompleteAnswerError(f"agent {agent}: the model refused")
    if isinstance(exc, ModelBehaviorError):
        kind = OutputInvalidError if "JSON" in str(exc) else ModelProtocolError
        return kind(f"agent {agent}: {exc}")
    if isinstance(exc, AgentsException):
        return AgentRunError(f"agent {agent}: {type(exc).__name__}: {exc}")
    return AgentRunError(f"agent {agent} failed: {type(exc).__name__}: {exc}")
