"""One file watched under Trio: who wants to know is told when it may have changed."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import trio

LOOK_PERIOD = 5.0
"""Seconds between two looks at the file where no change is reported: some file systems report none."""

_STEP_MS, _DEBOUNCE_MS = 50, 500
"""An edit is taken up when the folder was quiet for the first, after the second at the latest: editors write twice."""

CLOSING_PATIENCE = 1.0
"""Seconds for the watching library to close its descriptors; its own thread does that a little after it is told."""


async def watch_file(path: Path, changed: Callable[[], Awaitable[None]]) -> None:
    """Await `changed` each time the file may have changed, until cancelled.

    One edit may be told of twice, and every `LOOK_PERIOD` the file is taken for changed: compare what it holds. On
    cancellation, and when `changed` raises, the thread that looks has ended, and nothing is open.
    """
    stop = trio.Event()
    before = _anonymous_descriptors()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow, path, changed, stop)
            try:
                await trio.sleep_forever()
            finally:
                stop.set()  # the thread, which can't be cancelled, sees it within a step
    finally:
        with trio.move_on_after(CLOSING_PATIENCE, shield=True):
            while _anonymous_descriptors() - before:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.001)


async def _follow(path: Path, changed: Callable[[], Awaitable[None]], stop: trio.Event) -> None:
    async with aclosing(_looks(path, stop)) as looks:
        async for _ in looks:
            await changed()


def _anonymous_descriptors() -> set[str]:
    """Return the open descriptors that are no file, socket or pipe; none where nobody can tell."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        with suppress(OSError):  # of the listing itself, gone by now
            if str(entry.readlink()).startswith("anon_inode:"):
                found.add(entry.name)
    return found


async def _looks(path: Path, stop: trio.Event) -> AsyncGenerator[None]:
    """Yield when the file may have changed: its folder says so, or nothing was heard for a while.

    The folder is watched, not the file: that may not be there yet, and editors put a new one in its place. A folder
    that can't be watched (it is not there, too many are watched) is looked at now and then.
    """
    from watchfiles import awatch  # noqa: PLC0415 - with anyio, only where a file is watched

    try:
        changes = awatch(
            path.parent,
            watch_filter=lambda _, changed: Path(changed).name == path.name,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=int(LOOK_PERIOD * 1000),
            yield_on_timeout=True,
            recursive=False,
            stop_event=stop,
        )
        async with aclosing(changes):
            async for _ in changes:
                yield
    except (OSError, RuntimeError):
        pass  # watchfiles can't watch here; its own errors are RuntimeErrors
    while True:
        yield
        await trio.sleep(LOOK_PERIOD)
