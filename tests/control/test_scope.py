"""The scope follows a task and its children, and ends with its block."""

import math

import pytest
import trio

from agent_pipeline.control.scope import CallScope, call_scope, current_scope


async def test_a_scope_is_that_of_the_block_and_of_tasks_started_in_it() -> None:
    """Client libraries start tasks of their own."""
    seen: list[CallScope] = []
    outer, inner = CallScope("d1", "route", 1, deadline=7), CallScope("d1", "review", 2)

    async def look() -> None:
        seen.append(current_scope())

    with call_scope(outer):
        async with trio.open_nursery() as nursery:
            with call_scope(inner):
                nursery.start_soon(look)
            nursery.start_soon(look)

    assert set(seen) == {outer, inner}
    assert current_scope() == CallScope(None, None, None, deadline=math.inf)


def test_a_scope_ends_also_on_error() -> None:
    """The next document must not be billed for this one."""
    with pytest.raises(KeyError), call_scope(CallScope("d1")):
        raise KeyError

    assert current_scope().document_id is None
