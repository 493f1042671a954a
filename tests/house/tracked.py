"""The files of the repository, as git knows them: what is tracked, and what is new and not ignored."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    """List the repository's files that match any of the git patterns (all without one), sorted."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # git lists a file deleted from the work tree until the deletion is committed.
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def relative(path: Path) -> str:
    """Return a path as the repository writes it."""
    return path.relative_to(ROOT).as_posix()
