"""Being nobody for a while: what happens where nothing may be written can be tested by the superuser too."""

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@contextmanager
def unprivileged() -> Generator[None]:
    """Give up the superuser's rights, where this process has them, and take them back; import what you need before."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.setresuid(_NOBODY, _NOBODY, 0)  # the saved one is the way back; the real one is what os.access asks for
    except OSError:
        pytest.skip("this superuser may not become anybody else")
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def let_others_in(folder: Path) -> None:
    """Let everybody reach a folder for temporary files, which only its owner can otherwise."""
    for part in (folder, *folder.parents):
        if part == Path(tempfile.gettempdir()):
            return
        part.chmod(0o755)


@contextmanager
def read_only_folder(files: Mapping[str, bytes]) -> Generator[Path]:
    """Make a folder with these files that everybody may read and, without the superuser's rights, nobody may change."""
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which only its owner can reach
        folder = Path(name)
        for file_name, content in files.items():
            (folder / file_name).write_bytes(content)
            (folder / file_name).chmod(0o444)
        folder.chmod(0o555)
        try:
            yield folder
        finally:
            folder.chmod(0o700)
