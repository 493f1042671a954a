"""A JSON file that people and programs write: read exactly, replaced whole, by one writer at a time."""

import errno
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from agent_pipeline.config.source_map import SourceMap, parse_source_map
from agent_pipeline.config.text_file import MAX_FILE_BYTES, read_text_file
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

LOCK_PATIENCE = 10.0
"""Seconds a writer waits for the one before it, who needs a few milliseconds."""

_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>NaN|-?Infinity)', re.DOTALL)
"""A text, or what Python's parser takes for a number and JSON does not know."""

_LOCK_PERIOD = 0.005
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}  # the last: NFS
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def load_json_map(path: Path) -> SourceMap:
    """Read a JSON file by the rules for config files, and nothing that is YAML alone; values are exactly JSON's.

    Raises:
        ConfigError: the file can't be read, is no JSON, or breaks a rule of `parse_source_map`.
    """
    return _parse(read_text_file(path), str(path))


def json_text(value: Mapping[str, JsonValue]) -> str:
    """Return the text of a JSON file that is read back as this very value.

    Raises:
        ConfigError: there is none: a number is too long or not finite, a text is no text, it nests too deep, it is
            too large.
    """
    text = json.dumps(value, indent=2) + "\n"
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"the values need more than {MAX_FILE_BYTES} bytes")
    try:
        is_read_back = _parse(text, "").value == value
    except ConfigError as exc:
        raise ConfigError(exc.problem, key=exc.key) from None
    if not is_read_back:
        raise ConfigError("half surrogate pairs, which are no characters")
    return text


def create(path: Path, value: Mapping[str, JsonValue]) -> None:
    """Make the file, as `rewrite` does, unless there is one.

    Raises:
        ConfigError: it can't be made; there is none then.
    """
    with _named_errors(path):
        target = _target(path)
        with _written(target, json_text(value)) as temporary:
            _publish(temporary, target)


def rewrite(
    path: Path, revise: Callable[[SourceMap | None], Mapping[str, JsonValue]], *, patience: float = LOCK_PATIENCE
) -> None:
    """Put a new content in the file's place, made of what it holds; whoever reads sees the old or the new, whole.

    When this returns, the content is on disk. The file is readable by its owner alone. Writers that come here wait
    for each other, of whatever thread or process, so that each sees what the one before it wrote. Where the path is a
    symbolic link, the file it leads to is replaced.

    Args:
        path: of the file, which need not be there.
        revise: gets what the file holds, None where there is none, and returns what it shall hold. Called again where
            somebody else made or replaced the file in between.
        patience: seconds to wait for another writer.

    Raises:
        ConfigError: the file can't be read, parsed, locked or written, or the content not be written as JSON; what
            `revise` raises. Nothing has changed then, unless it is the folder that could not be synced.
    """
    with _named_errors(path):
        while not _is_rewritten(_target(path), path, revise, patience):
            continue


@contextmanager
def _named_errors(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"the file can't be written: {exc.strerror}", place=str(path)) from exc


def _target(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError as exc:
        raise ConfigError("not a usable file name", place=repr(str(path))) from exc


def _is_rewritten(
    target: Path, path: Path, revise: Callable[[SourceMap | None], Mapping[str, JsonValue]], patience: float
) -> bool:
    try:
        held = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        with _written(target, json_text(revise(None))) as temporary:
            return _publish(temporary, target)
    try:
        if not _is_locked(held, target, path, patience):
            return False
        with _written(target, json_text(revise(load_json_map(path)))) as temporary:
            temporary.replace(target)
            _sync_folder(target)
        return True
    finally:
        os.close(held)


def _is_locked(held: int, target: Path, path: Path, patience: float) -> bool:
    """Lock the file; tell whether it still has its name: the writer before us puts another in its place."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                problem = f"another process has held the file for {patience:g} s"
                raise ConfigError(problem, place=str(path)) from None
            time.sleep(_LOCK_PERIOD)  # the kernel offers no wait with a bound
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise
            break  # writers are still whole, but two at once may each miss what the other wrote
    try:
        return os.path.samestat(os.fstat(held), target.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _written(target: Path, text: str) -> Generator[Path]:
    """Write a file beside the target, synced; at the end its own name is gone."""
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _publish(temporary: Path, target: Path) -> bool:
    """Give the file its name, unless there is one of that name by now; tell which."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        temporary.replace(target)
    _sync_folder(target)
    return True


def _sync_folder(target: Path) -> None:
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(text: str, name: str) -> SourceMap:
    # Both parsers have their say: the one for YAML knows places and refuses what has two meanings, the one for JSON
    # knows what is JSON, and what the texts are.
    source = parse_source_map(text, name=name)
    if not text.strip():
        return source
    for match in _NOT_FINITE.finditer(text):
        if match.group("number"):
            raise ConfigError("a finite number is wanted", place=_place(text, match.start(), name))
    try:
        value = cast("JsonValue", json.loads(text))
    except json.JSONDecodeError as exc:
        raise ConfigError(f"not valid JSON: {exc.msg}", place=_place(text, exc.pos, name)) from None
    return SourceMap(name=name, text=text, value=value, places=source.places)


def _place(text: str, position: int, name: str) -> str:
    before = text[:position]
    return f"{name}:{before.count(chr(10)) + 1}:{position - before.rfind(chr(10))}"
