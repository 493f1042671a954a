"""Values in a JSON file that may change while the program goes on: read by name, saved, watched, subscribed to."""

import copy
import keyword
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import trio

from agent_pipeline.bridge import Caller, Hosted
from agent_pipeline.config.json_file import create, load_json_map, rewrite
from agent_pipeline.config.key_guard import HIDDEN, ends_in_secret_name, shown
from agent_pipeline.config.source_map import SourceMap
from agent_pipeline.config.typed_values import Change, Reading, TypedDefaults, Values, changes_between, rebased
from agent_pipeline.config.validation import did_you_mean
from agent_pipeline.config.watched_file import watch_file
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError
from agent_pipeline.utils.subscribers import Changes, Subscriber, Subscribers

DEFAULTS: Mapping[str, JsonValue] = {
    "MAX_CONCURRENT_REQUESTS": 25,
    "LLM_REQUEST_TIMEOUT_SECONDS": 300.0,
    "EXECUTION_TIMEOUT_SECONDS": 30.0,
}
"""What a config has that names no defaults of its own."""

_logger = logging.getLogger("agent_pipeline.live_values")


class RuntimeConfig:
    """Values by name, `config.MAX_CONCURRENT_REQUESTS`, above a JSON file that people and programs may edit.

    The file is made from the defaults where there is none; a key it leaves out has its default. A value keeps the type
    of its default: an edit with one of another type, or that is no JSON, changes nothing at all; it is logged and in
    `problems`. So it is at the start, too: then the defaults hold. Keys that are no defaults are somebody else's and
    stay in the file.

    All methods may be called by any thread, and under any loop or none. Those that read or write the file block for a
    few milliseconds; a value is read from memory.

    Args:
        path: of the file; its folder has to be there.
        defaults: by name, which is an identifier that names no method and has no leading underscore. Null as a default
            says nothing of the type.

    Raises:
        ConfigError: a default can't be kept under its name in a JSON file, or there is no file and none can be made.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> config = RuntimeConfig(folder.name + "/live.json", defaults={"MAX_CONCURRENT_REQUESTS": 25, "PAUSE": 0.5})
    >>> config.MAX_CONCURRENT_REQUESTS
    25
    >>> _ = config.path.write_text('{"MAX_CONCURRENT_REQUESTS": 5}')
    >>> config.reload()
    {'MAX_CONCURRENT_REQUESTS': Change(old=25, new=5)}
    >>> config.PAUSE = "long"
    Traceback (most recent call last):
    TypeError: PAUSE: a number is wanted
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], defaults: Mapping[str, object] | None = None) -> None:
        self._path = Path(path)
        self._defaults = TypedDefaults(DEFAULTS if defaults is None else defaults)
        for name in self._defaults.values:
            _check_name(name)
        self._file_lock = threading.Lock()  # held while the file is read or written, and what it says taken over
        self._lock = threading.Lock()  # held for an instant, inside the other
        self._subscribers = Subscribers()
        self._values = self._in_file = self._defaults.values
        self._problems: tuple[ConfigError, ...] = ()
        with self._file_lock:
            if _is_absent(self._path):
                create(self._path, self._defaults.values)
            self._take()

    # --- values ------------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the type of its default, which no checker can know
        """Return a value; lists and mappings are copies."""
        if name.startswith("_"):  # of Python, a notebook, a copier
            raise AttributeError(name)
        try:
            return copy.deepcopy(self._values[name])
        except KeyError:
            problem = f"no value is called {shown(name)!r}{did_you_mean(name, self._values)}"
            raise AttributeError(problem) from None

    def __setattr__(self, name: str, value: object) -> None:
        """Change a value in memory; subscribers are told.

        Raises:
            AttributeError: there is no value of this name.
            TypeError: the value is of another type than the default.
            ValueError: JSON can't hold it.
        """
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        fitted = self._defaults.fit(name, value)
        with self._lock:
            self._become({**self._values, name: fitted})
        self._subscribers.tell()

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})

    def __repr__(self) -> str:
        told = ", ".join(
            f"{name}={HIDDEN if ends_in_secret_name(name) else value!r}" for name, value in self._values.items()
        )
        return f"<RuntimeConfig {self._path}: {told}>"

    def as_dict(self) -> dict[str, Any]:
        """Return every value by its name; a copy."""
        return copy.deepcopy(dict(self._values))

    @property
    def path(self) -> Path:
        """Where the file is, as it was named."""
        return self._path

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        """What was wrong with the file when it was last read; each with file, line, column and key.

        Empty where nothing was. What is refused is refused as a whole; a key that is probably a misspelt one is told
        of, and refuses nothing.
        """
        return self._problems

    # --- the file ----------------------------------------------------------------------------------------------------

    def reload(self) -> Changes:
        """Take over what was edited in the file since it was last read; return old and new of each value that changed.

        What was assigned and not saved stays, unless the file has another value than before under that name. A key
        that was taken out, or a file that is gone, gives way to the defaults. Subscribers are told.

        Returns:
            A mapping, empty where nothing changed, also because the file can't be used: then `problems` says why.
        """
        with self._file_lock:
            changes = self._take()
        self._subscribers.tell()
        return changes

    def save(self) -> None:
        """Write the values to the file, on disk when this returns; a reader finds the old file or the new one, whole.

        What others edited since the file was last read is taken over first, but for values assigned here; their keys
        stay. Writers wait for each other, at most 10 s. The new file is readable by its owner alone.

        Raises:
            ConfigError: the file can't be written, or what is in it can't be used: it is not written over.
        """
        with self._file_lock:
            written = _Written(self._defaults, self._values, self._in_file)
            rewrite(self._path, written.revise)
            with self._lock:
                self._in_file = written.values
                self._become(rebased(self._values, written.mine, written.values))
            self._report(written.problems)
        self._subscribers.tell()

    # --- being told --------------------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have a plain function called with the changes, old and new by name, each time values change.

        It is called by whoever makes the change, `reload`, `save`, an assignment or `watch`, where that runs; changes
        that are made while subscribers are told are told after that, in order, by the same thread. One that raises is
        logged, counted in `subscriber_failures`, and keeps nobody else from being told.

        Returns:
            What ends it; then it is not called any more.

        Raises:
            TypeError: it is an async function.
        """
        return self._subscribers.add(subscriber)

    def follow(self, name: str, setter: Callable[[Any], object]) -> Callable[[], None]:
        """Have a plain function called with one value: now, and each time it changes. Else as `subscribe`.

        `config.follow("MAX_CONCURRENT_REQUESTS", pool.set_max_inflight)` holds a pool to its value.

        Raises:
            AttributeError: there is no value of this name.
            TypeError: the setter is an async function.
        """

        def follower(changes: Changes) -> None:
            if name in changes:
                setter(copy.deepcopy(changes[name].new))

        with self._lock:
            value = self.__getattr__(name)  # also for a name of a method, which is none of a value
            unsubscribe = self._subscribers.add(follower, first={name: Change(value, value)})
        self._subscribers.tell()
        return unsubscribe

    @property
    def subscriber_failures(self) -> int:
        """How often a subscriber raised."""
        return self._subscribers.failures

    async def watch(self) -> None:
        """Take over each edit of the file as it is made, until cancelled; then nothing is open and no thread is left.

        Subscribers are told in the task that called this. An edit that was taken over has been told of, also on
        cancellation.
        """
        caller = Caller.here()
        async with Hosted(lambda: nullcontext(self)) as trio_side:
            await trio_side.run(RuntimeConfig._follow_file, caller)

    async def _follow_file(self, caller: Caller) -> None:
        async def changed() -> None:
            await trio.to_thread.run_sync(self._take_from_file)
            await caller.tell(self._subscribers.tell)

        await changed()
        await watch_file(self._path, changed)

    def _take_from_file(self) -> None:
        with self._file_lock:
            self._take()

    # --- inside the file's lock --------------------------------------------------------------------------------------

    def _take(self) -> Changes:
        """Read the file and become what it says; somebody has to tell then."""
        reading = self._read()
        self._report(reading.problems)
        if reading.values is None:
            return {}
        with self._lock:
            values = rebased(reading.values, self._in_file, self._values)
            self._in_file = reading.values
            return self._become(values)

    def _read(self) -> Reading:
        if _is_absent(self._path):
            return Reading(self._defaults.values)
        try:
            return self._defaults.read(load_json_map(self._path))
        except ConfigError as exc:
            return Reading(None, problems=(exc,))

    def _report(self, problems: tuple[ConfigError, ...]) -> None:
        known = {str(problem) for problem in self._problems}
        self._problems = problems
        for problem in problems:
            if str(problem) not in known:
                _logger.warning("%s", problem)

    # --- inside the inner lock ---------------------------------------------------------------------------------------

    def _become(self, values: Values) -> Changes:
        changes = changes_between(self._values, values)
        self._values = values
        self._subscribers.put(changes)
        return changes


class _Written:
    """What is saved: values as they are, above the file as it is found when its turn comes."""

    def __init__(self, defaults: TypedDefaults, mine: Values, base: Values) -> None:
        self.mine = mine
        self.values = mine
        self.problems: tuple[ConfigError, ...] = ()
        self._defaults = defaults
        self._base = base

    def revise(self, found: SourceMap | None) -> Values:
        """Return what the file shall hold."""
        reading = Reading(self._base) if found is None else self._defaults.read(found)
        if reading.values is None:
            raise reading.problems[0]
        self.values = rebased(self.mine, self._base, reading.values)
        self.problems = reading.problems
        return {**reading.others, **self.values}


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigError(
            "a value is read as an attribute; its name is an identifier without leading _", key=shown(name)
        )
    if hasattr(RuntimeConfig, name):
        raise ConfigError("this name is taken by the config itself", key=name)


def _is_absent(path: Path) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - unlike Path.exists it tells what is not there from what can't be looked at
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False  # reading it says what is wrong
    return False
