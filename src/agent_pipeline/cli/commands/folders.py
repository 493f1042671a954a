"""Can files be made in a folder? Answered without making any."""

import os
from pathlib import Path

from agent_pipeline.errors import InputError


def check_folder(folder: Path, key: str) -> None:
    """See that the folder can be written to, or could be made.

    Raises:
        InputError: it can't; names the folder and the config's key.
    """
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise InputError(f"{key}: {folder} can't be made: {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        what = "is not writable" if nearest == folder else f"can't be made: {nearest} is not writable"
        raise InputError(f"{key}: {folder} {what}; check its permissions or set `{key}`")
