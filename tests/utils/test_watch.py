"""A config that watches its file takes over edits as they are made, under Trio and under asyncio."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import trio

from agent_pipeline.config.watched_file import LOOK_PERIOD
from agent_pipeline.utils import RuntimeConfig
from agent_pipeline.utils.subscribers import Changes

Flavour = Literal["trio", "asyncio"]
flavours = pytest.mark.parametrize("flavour", ["trio", "asyncio"])

DEFAULTS = {"COUNT": 25, "PAUSE": 0.5}


class Watched:
    """A config that is watched while a script of plain steps is followed; each step waits until it holds."""

    def __init__(self, path: Path) -> None:
        self.config = RuntimeConfig(path, defaults=DEFAULTS)
        self.path = path
        self.told: list[Changes] = []
        self.threads: set[int] = set()
        self.config.subscribe(self._note)

    def _note(self, changes: Changes) -> None:
        self.told.append(changes)
        self.threads.add(threading.get_ident())

    def follow(self, flavour: Flavour, *steps: tuple[Callable[[], object], Callable[[], object]]) -> None:
        """Watch, under this flavour; do each step and wait until what it says holds; then cancel the watch."""
        if flavour == "trio":
            trio.run(self._under_trio, steps)
        else:
            asyncio.run(self._under_asyncio(steps))

    async def _under_trio(self, steps: tuple[tuple[Callable[[], object], Callable[[], object]], ...]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.config.watch)
            for act, holds in steps:
                await trio.sleep(0.1)
                act()
                with trio.fail_after(20):
                    while not holds():  # noqa: ASYNC110 - a thread looks
                        await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

    async def _under_asyncio(self, steps: tuple[tuple[Callable[[], object], Callable[[], object]], ...]) -> None:
        task = asyncio.create_task(self.config.watch())
        for act, holds in steps:
            await asyncio.sleep(0.1)
            act()
            async with asyncio.timeout(20):
                while not holds():  # noqa: ASYNC110 - a thread looks
                    await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A config that nobody watches yet."""
    return Watched(tmp_path / "live.json")


def in_place(path: Path, text: str) -> Callable[[], object]:
    """Write over the file, as a shell does."""
    return lambda: path.write_text(text, encoding="utf-8")


def replacing(path: Path, values: object) -> Callable[[], object]:
    """Put another file in its place, as editors do."""

    def replace() -> None:
        new = path.with_name("new.json")
        new.write_text(json.dumps(values), encoding="utf-8")
        new.replace(path)

    return replace


def open_things() -> tuple[list[str], list[str]]:
    """Return the threads and the descriptors of this process, but for threads of Trio that wait for work."""
    threads = [one.name for one in threading.enumerate() if not one.name.startswith("Trio thread")]
    descriptors = []
    for one in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        try:
            descriptors.append(os.readlink(one))  # noqa: PTH115 - a text
        except FileNotFoundError:
            continue  # that of the listing itself
    return sorted(threads), sorted(descriptors)


@flavours
def test_edits_are_taken_over_as_they_are_made(watched: Watched, flavour: Flavour) -> None:
    """And told of in the thread of whoever watches; at the end nothing is open."""
    config, path = watched.config, watched.path
    before = open_things()

    watched.follow(
        flavour,
        (in_place(path, '{"COUNT": 5}'), lambda: config.COUNT == 5),
        (replacing(path, {"COUNT": 6, "PAUSE": 1}), lambda: config.COUNT == 6),
        (path.unlink, lambda: config.COUNT == 25),
    )

    assert watched.told == [
        {"COUNT": (25, 5)},
        {"COUNT": (5, 6), "PAUSE": (0.5, 1.0)},
        {"COUNT": (6, 25), "PAUSE": (1.0, 0.5)},
    ]
    assert watched.threads == {threading.get_ident()}
    assert open_things() == before


@flavours
def test_an_edit_that_is_half_there_changes_nothing(watched: Watched, flavour: Flavour) -> None:
    """It is told of; when it is whole, it counts."""
    config, path = watched.config, watched.path

    watched.follow(
        flavour,
        (in_place(path, '{"COUNT": 1'), lambda: config.problems),
        (in_place(path, '{"COUNT": 12, "PAUSE": 3}'), lambda: not config.problems),
    )

    assert watched.told == [{"COUNT": (25, 12), "PAUSE": (0.5, 3.0)}]


@flavours
def test_what_was_edited_before_is_taken_over_at_once(watched: Watched, flavour: Flavour) -> None:
    """Between the making of the config and the watch, say."""
    in_place(watched.path, '{"COUNT": 5}')()
    begun = time.monotonic()

    watched.follow(flavour, (lambda: None, lambda: watched.told))

    assert watched.told == [{"COUNT": (25, 5)}]
    assert time.monotonic() - begun < LOOK_PERIOD


@flavours
def test_a_subscriber_that_fails_does_not_end_the_watch(watched: Watched, flavour: Flavour) -> None:
    config, path = watched.config, watched.path
    config.subscribe(lambda changes: changes["no such"])

    watched.follow(
        flavour,
        (in_place(path, '{"COUNT": 5}'), lambda: config.subscriber_failures == 1),
        (in_place(path, '{"COUNT": 6}'), lambda: config.subscriber_failures == 2),
    )

    assert [change["COUNT"].new for change in watched.told] == [5, 6]


def test_who_is_cancelled_at_once_has_changed_nothing(watched: Watched) -> None:
    """Before anything was read."""
    in_place(watched.path, '{"COUNT": 5}')()

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await watched.config.watch()
        assert scope.cancelled_caught

    trio.run(main)
    assert watched.told == []
    assert watched.config.COUNT == 25


def test_what_was_taken_over_is_told_also_by_who_is_cancelled(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is being read in a thread when the cancellation comes; nobody else would tell of it."""
    in_place(watched.path, '{"COUNT": 5}')()
    begun = threading.Event()
    take = RuntimeConfig._take_from_file

    def take_and_say_so(config: RuntimeConfig) -> None:
        begun.set()
        take(config)

    monkeypatch.setattr(RuntimeConfig, "_take_from_file", take_and_say_so)

    async def main() -> None:
        with watched.config._file_lock:
            task = asyncio.create_task(watched.config.watch())
            assert await asyncio.to_thread(begun.wait, 30)
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert watched.told == [{"COUNT": (25, 5)}]
    assert watched.threads == {threading.get_ident()}


OTHER_PROCESS = """
import sys
from agent_pipeline.utils import RuntimeConfig

config = RuntimeConfig(sys.argv[1], defaults={"COUNT": 1, "THEIRS": "x"})
config.COUNT = int(sys.argv[2])
config.save()
"""


@flavours
def test_another_process_changes_a_value(watched: Watched, flavour: Flavour) -> None:
    """With defaults of its own, whose keys stay in the file."""
    config, path = watched.config, watched.path

    def other_process(count: int) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", OTHER_PROCESS, path, str(count)], check=True)

    watched.follow(
        flavour,
        (other_process(7), lambda: config.COUNT == 7),
        (other_process(8), lambda: config.COUNT == 8),
    )
    config.PAUSE = 2
    config.save()

    assert watched.told[:2] == [{"COUNT": (25, 7)}, {"COUNT": (7, 8)}]
    assert json.loads(path.read_text()) == {"COUNT": 8, "PAUSE": 2.0, "THEIRS": "x"}
    assert config.problems == ()


SAVER = """
import sys
from agent_pipeline.utils import RuntimeConfig

config = RuntimeConfig(sys.argv[1], defaults={"COUNT": 0, "SAME": 0, "FILL": ""})
while True:
    config.COUNT += 1
    config.SAME = config.COUNT
    config.FILL = "x" * (config.COUNT % 7 * 5000)
    config.save()
    if config.COUNT == 1:
        print("saved", flush=True)
"""


def test_a_killed_saver_leaves_a_whole_file(tmp_path: Path) -> None:
    """Whenever it is killed; and the next one may write at once."""
    path = tmp_path / "live.json"
    for number in range(4):
        process = subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"saved\n"
        time.sleep(0.03 + 0.013 * number)  # any moment will do
        process.kill()
        process.wait()
        process.stdout.close()

        config = RuntimeConfig(path, defaults={"COUNT": 0, "SAME": 0, "FILL": ""})
        assert config.problems == ()
        assert config.COUNT == config.SAME > 0
        assert len(config.FILL) == config.COUNT % 7 * 5000
        config.COUNT = config.SAME = 0
        config.FILL = ""
        config.save()
