"""New files in a folder of the user's: all of them or none, and never over another."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from os.path import lexists
from pathlib import Path

from agent_pipeline.errors import InputError


def write_new_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files below a folder, which is made if it is not there.

    On any error, also an interrupt, what was made is removed again, folders too.

    Args:
        folder: where they go.
        contents: path below the folder, with `/`, to text.

    Raises:
        InputError: one of them is there already, or can't be written; nothing has changed.
    """
    taken = [name for name in contents if lexists(folder / name)]
    if taken:
        raise InputError(f"{folder}: {', '.join(taken)} already there, and nothing is overwritten; nothing was changed")
    made: list[Path] = []
    try:
        for path, content in ((folder / name, content) for name, content in contents.items()):
            for missing in _missing(path.parent):
                missing.mkdir()
                made.append(missing)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(content)
    except BaseException as exc:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(exc, OSError):
            where = exc.filename or folder
            raise InputError(f"{where}: can't be made: {exc.strerror or exc}; nothing was changed") from exc
        raise


def _missing(folder: Path) -> Iterator[Path]:
    """Yield the folders that have to be made for this one, the outermost first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    yield from reversed(missing)
