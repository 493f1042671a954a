"""Loops that are none of ours: whoever runs asyncio outside of Trio in this process gets asyncio's own."""

from trio_asyncio import _loop


def leave_foreign_loops_alone() -> None:
    """Let threads without a policy of their own have the one that there was before trio-asyncio was imported.

    Else `asyncio.run` and `asyncio.new_event_loop` make a loop that runs Trio in a greenlet, on every thread of the
    process, also of programs that run a pipeline now and then: it is slower, and marks its thread as run by Trio for as
    long as it is open. Under Trio nothing changes. trio-asyncio 0.16 (`_loop`) tells why it does so: asyncio's own
    tests are to run on it.
    """
    _loop._FakedPolicy.policy = _loop._original_policy  # what it lets be set for one thread, for all
