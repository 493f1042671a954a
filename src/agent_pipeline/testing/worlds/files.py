"""The files of a world: what a killed process leaves, copied as it is, torn where it was writing, and put back."""

import os
import shutil
from pathlib import Path

LOG_SUFFIXES = frozenset({".log", ".jsonl"})
"""Files that are only ever added to."""


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder with all that is in it; names of one file stay names of one file.

    SQLite's locks on a file in it are gone afterwards (POSIX drops them when any descriptor of the file is closed):
    only for worlds, where nobody else opens the ledger.
    """
    known: dict[int, Path] = {}
    for folder, _, names in os.walk(source):
        into = target / os.path.relpath(folder, source)
        into.mkdir()
        shutil.copymode(folder, into)
        for name in names:
            file, copy = Path(folder) / name, into / name
            inode = file.lstat().st_ino
            if inode in known:
                copy.hardlink_to(known[inode])
            else:
                shutil.copy2(file, copy, follow_symlinks=False)
                known[inode] = copy


def tear_logs(folder: Path, kept: float) -> list[Path]:
    """Cut the last line of each log short, as a process does that is killed while it writes.

    Args:
        folder: where the logs are, at any depth.
        kept: the part of the line that stays, 0.0 to 1.0.

    Returns:
        The files that end in a torn line now.
    """
    torn = []
    for file in sorted(folder.rglob("*")):
        if file.suffix not in LOG_SUFFIXES or not file.is_file():
            continue
        content = file.read_bytes()
        begin = content.rfind(b"\n", 0, -1) + 1
        end = begin + int((len(content) - begin) * kept)
        if begin < end < len(content):
            os.truncate(file, end)
            torn.append(file)
    return torn


def put_back(copy: Path, place: Path) -> None:
    """Replace a folder by its copy."""
    shutil.rmtree(place)
    copy.rename(place)
