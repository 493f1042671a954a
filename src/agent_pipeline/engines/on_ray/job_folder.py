"""The folder that `ray job submit --working-dir` hands in: a copy of it, which Ray deletes."""

from itertools import pairwise
from pathlib import Path

from agent_pipeline.errors import ConfigError

_COPIES = ("runtime_resources", "working_dir_files")
"""Where Ray keeps such copies, inside of its own folder."""


def check_kept(key: str, folder: Path) -> None:
    """See that what is written to a folder is still there when Ray has tidied up.

    Raises:
        ConfigError: it is in a copy of Ray's, and so nobody would find it; `key` says which path that is.
    """
    if _COPIES in pairwise(folder.parts):
        raise ConfigError(f"{folder} is in Ray's copy of the job's folder, and goes with it: give a full path", key=key)
