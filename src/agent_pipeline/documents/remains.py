"""What killed processes leave in a folder: half-written files of any run, and unrecorded artifacts of one's own."""

import fcntl
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from agent_pipeline.documents.folder import FileId, id_of, regular, unlink, unlink_same
from agent_pipeline.documents.temporary import tag_in

_ORPHAN_AGE = 60.0
"""Seconds after which a temporary file that nobody holds is the remains of a killed run."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was removed after a process was killed.

    Attributes:
        temporary: temporary files.
        unrecorded: artifacts that were published, but of which the ledger knows nothing.
    """

    temporary: int
    unrecorded: int


def remove_orphans(folder: int) -> None:
    """Remove half-written files that nobody holds any more, of whatever run; evidence stays."""
    for name in os.listdir(folder):
        if tag_in(name) is not None and _is_orphan(folder, name):
            unlink(folder, name)


def remove_remains(folder: int, run_tag: str, claimed: Callable[[Collection[str]], Collection[str]]) -> Recovered:
    """Remove every temporary file of this run, and what it published and did not record.

    An artifact goes first and its temporary file second: killed between the two, there is evidence as before.

    Args:
        folder: descriptor of the artifacts folder.
        run_tag: of the run, on which nobody else works.
        claimed: returns which of some file names in the folder the ledger knows; asked only where there is evidence.
    """
    names = os.listdir(folder)
    remains = {name: status for name in names if tag_in(name) == run_tag and (status := regular(folder, name))}
    evidence = {name: id_of(status) for name, status in remains.items() if status.st_nlink > 1}
    published = _names_of(folder, names, evidence) if evidence else {}
    known = claimed([name for found in published.values() for name in found]) if published else ()
    unrecorded = sum(
        unlink_same(folder, found[0], file_id)
        for file_id, found in published.items()
        # A file with two more names was linked by somebody else as well, whose it is by now.
        if len(found) == 1 and found[0] not in known
    )
    return Recovered(temporary=sum(unlink(folder, name) for name in remains), unrecorded=unrecorded)


def _names_of(folder: int, names: Iterable[str], evidence: Mapping[str, FileId]) -> dict[FileId, list[str]]:
    """Return which other names in the folder the files of the evidence have."""
    wanted = set(evidence.values())
    found: dict[FileId, list[str]] = defaultdict(list)
    for name in names:
        status = None if name in evidence else regular(folder, name)
        if status is not None and id_of(status) in wanted:
            found[id_of(status)].append(name)
    return found


def _is_orphan(folder: int, name: str) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        is_evidence = status.st_nlink > 1
        return stat.S_ISREG(status.st_mode) and not is_evidence and time.time() - status.st_mtime > _ORPHAN_AGE
    except OSError:
        return False
    finally:
        os.close(descriptor)
