"""Temporary files: named after their run, held while they are written, and kept as evidence of what was published."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from agent_pipeline.documents.folder import unlink

_TAG = re.compile(r"[0-9a-f]{6,16}")
_NAME = re.compile(r"\.agent-pipeline-([0-9a-f]{6,16})-[0-9a-f]{16}\.part")
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def tag_of_run(run_id: str) -> str:
    """Return what marks a run's temporary files: the digits its id ends in, for people, and a hash of all of it.

    >>> tag_of_run("smoke-2026-01-02_03h04m05s-a1b2c3")
    'a1b2c31d6b9ccb1d'
    """
    digits = re.search(r"[0-9a-f]{6}$", run_id)
    return ((digits.group() if digits else "") + hashlib.sha256(run_id.encode()).hexdigest())[:16]


def check_tag(run_tag: str) -> str:
    """Return the tag, if temporary files can carry it.

    Raises:
        ValueError: it is no row of 6 to 16 hex digits.
    """
    if _TAG.fullmatch(run_tag) is None:
        raise ValueError(f"a run's tag must be 6 to 16 hex digits, not {run_tag!r}")
    return run_tag


def tag_in(name: str) -> str | None:
    """Return the tag of the run that made this temporary file, None for any other file."""
    if not name.startswith("."):
        return None  # a folder may hold a million artifacts
    match = _NAME.fullmatch(name)
    return None if match is None else match.group(1)


@dataclass(slots=True, eq=False)
class TemporaryFile:
    """A file that has no final name yet.

    Attributes:
        name: relative to its folder.
        descriptor: open for writing.
        is_evidence: its name stays when it is done with, beside the final one.
    """

    name: str
    descriptor: int
    is_evidence: bool = False


@contextmanager
def temporary_file(folder: int, run_tag: str) -> Generator[TemporaryFile]:
    """Make a file nobody else has, held by a lock; at the end its name is gone, unless it has become evidence."""
    made = make(folder, run_tag)
    try:
        yield made
    finally:
        leave(folder, made)


def make(folder: int, run_tag: str) -> TemporaryFile:
    """Make a file nobody else has, held by a lock until it is left."""
    name = f".agent-pipeline-{run_tag}-{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = TemporaryFile(name, os.open(name, flags, 0o600, dir_fd=folder))
    # Tells a run that is alive from the remains of a killed one, whose locks are gone.
    with suppress(OSError):
        fcntl.flock(made.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return made


def leave(folder: int, temporary: TemporaryFile) -> None:
    """Close it; its name is gone then, unless it has become evidence."""
    try:
        os.close(temporary.descriptor)
    finally:
        if not temporary.is_evidence:
            unlink(folder, temporary.name)


def fill(temporary: TemporaryFile, content: bytes) -> None:
    """Write all of it, and have the disk begin with it: a sync then waits for what others are filled meanwhile."""
    view = memoryview(content)
    while view:
        view = view[os.write(temporary.descriptor, view) :]
    if sys.platform == "linux":
        # Linux sends to the disk at once what it is told not to keep. It only saves time: the sync is what counts.
        with suppress(OSError):
            os.posix_fadvise(temporary.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def publish(folder: int, temporary: TemporaryFile, name: str) -> None:
    """Give a finished file its name, unless there is a file of that name; the temporary name becomes evidence of it.

    Where the file system has no hard links the file is renamed, and there is no evidence.

    Raises:
        FileExistsError: the name is taken; nothing has changed.
    """
    try:
        os.link(temporary.name, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        rename_over_placeholder(folder, temporary.name, name)
    else:
        temporary.is_evidence = True


def rename_over_placeholder(folder: int, temporary: str, name: str) -> None:
    """Claim the name with an empty file, then replace that one.

    Raises:
        FileExistsError: the name is taken; nothing has changed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o600, dir_fd=folder))
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
