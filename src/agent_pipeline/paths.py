"""Paths as one would type them here."""

import os

_FAR = f"..{os.sep}.."


def near(path: str) -> str:
    """Return a path relative to the working directory, unless it lies far from it."""
    relative = os.path.relpath(path or os.curdir)
    return path if relative.startswith(_FAR) else relative
