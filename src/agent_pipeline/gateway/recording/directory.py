"""A recording as a directory: its index, and one file of exchanges for each document."""

import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from agent_pipeline.config.json_file import create, load_json_map, rewrite
from agent_pipeline.documents.folder import absolute
from agent_pipeline.documents.names import lasting_stem
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError, RecordingError

FORMAT = "agent-pipeline recording"
VERSION = 1

_INDEX, _DOCUMENTS, _OUTSIDE = "recording.json", "documents", "outside.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is known of a recording as a whole.

    Attributes:
        run_id: of the run that was recorded.
        config_sha256: of its pipeline file.
        created_at: wall clock, UTC.
        simulator: whether the simulator answered, and no model.
        providers: base URL by provider id, as they were asked.
        folders: paths of the machine it was made on, and what stands for them in its requests.
        exchanges: how many it holds; None while it is being made, and where that was cut short.
    """

    run_id: str
    pipeline: str
    config_sha256: str
    created_at: str
    simulator: bool
    providers: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    exchanges: int | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A directory with its index."""

    directory: Path
    index: Index

    def lane(self, document_id: str | None) -> Path:
        """Return the file of one document's exchanges, or of those that were made for none."""
        if document_id is None:
            return self.directory / _OUTSIDE
        return self.directory / _DOCUMENTS / f"{lasting_stem(document_id)}.jsonl"

    def lanes(self) -> list[Path]:
        """Return all such files that are there, in order."""
        files = sorted((self.directory / _DOCUMENTS).glob("*.jsonl"))
        outside = self.directory / _OUTSIDE
        return [outside, *files] if outside.exists() else files

    def count(self) -> int:
        """Return how many whole lines its files have; reads all of them."""
        total = 0
        with _told(self.directory):
            for path in self.lanes():
                with path.open("rb") as file:
                    total += sum(line.endswith(b"\n") for line in file)
        return total

    def note(self, exchanges: int | None) -> None:
        """Write into the index how many exchanges there are, None while more may come.

        Raises:
            RecordingError: it can't be written.
        """
        with _told(self.directory):
            rewrite(self.directory / _INDEX, lambda _: _as_json(self.index, exchanges))


def check_recordable(directory: Path, run_id: str | None) -> Path:
    """Return the directory, absolute, if a run may be recorded there: a new one, an empty one, or its own.

    Args:
        directory: that was asked for; nothing is created.
        run_id: of a run that goes on, None for one that begins.

    Raises:
        RecordingError: something else is there.
    """
    path = absolute(directory)
    with _told(path):
        try:
            is_directory = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            return path
        if not is_directory:
            raise RecordingError(f"{path} is a file; a recording needs a directory of its own")
        there = sorted(entry.name for entry in path.iterdir())
    if not there:
        return path
    if _INDEX not in there:
        raise RecordingError(f"{path} holds other files, such as {there[0]!r}; record into a new directory")
    index = open_recording(path).index
    if index.run_id != run_id:
        raise RecordingError(
            f"{path} already holds a recording, of run {index.run_id}; remove it to record again, "
            "or record into a new directory"
        )
    return path


def begin_recording(directory: Path, index: Index) -> Recording:
    """Make a recording, mode 0700 with files of mode 0600, or go on with the one of the same run.

    What is returned has the index as it was found: on disk it says from now on that more may come.

    Raises:
        RecordingError: it can't be made, or something else is there.
    """
    path = check_recordable(directory, index.run_id)
    with _told(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / _DOCUMENTS).mkdir(mode=0o700, exist_ok=True)
        create(path / _INDEX, _as_json(index, None))
    begun = open_recording(path)
    if begun.index.run_id != index.run_id:  # another process was faster
        raise RecordingError(f"{path} was taken for a recording of run {begun.index.run_id} just now; use another")
    if begun.index.exchanges is not None:
        begun.note(None)
    return begun


def open_recording(directory: Path) -> Recording:
    """Open a recording for a replay; its exchanges are read when they are asked for.

    Raises:
        RecordingError: there is none, or not one that this version can read.
    """
    path = absolute(directory)
    with _told(path):
        if not path.exists():
            raise RecordingError(f"there is no recording {path}; a run with --record makes one")
        if not (path / _INDEX).is_file():
            raise RecordingError(f"{path} is no recording: it has no {_INDEX}; a run with --record makes one")
        value = load_json_map(path / _INDEX).value
    return Recording(path, _from_json(path / _INDEX, value))


def _as_json(index: Index, exchanges: int | None) -> dict[str, JsonValue]:
    return {"format": FORMAT, "version": VERSION, **asdict(index), "exchanges": exchanges}


def _from_json(path: Path, value: JsonValue) -> Index:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RecordingError(f"{path} is not the index of a recording")
    if value.get("version") != VERSION:
        raise RecordingError(f"{path}: version {value.get('version')!r} of recordings is not known here; record again")
    rest = {name: item for name, item in value.items() if name not in {"format", "version"}}
    names = ("run_id", "pipeline", "config_sha256", "created_at")
    exchanges = rest.get("exchanges")
    is_sound = (
        rest.keys() == set(Index.__dataclass_fields__)
        and all(isinstance(rest[name], str) for name in names)
        and isinstance(rest["simulator"], bool)
        and all(_is_text_map(rest[name]) for name in ("providers", "folders"))
        and (exchanges is None or (isinstance(exchanges, int) and not isinstance(exchanges, bool)))
    )
    if not is_sound:
        raise RecordingError(f"{path} is damaged: it has not the fields of an index; restore it, or record again")
    return Index(**cast("dict[str, Any]", rest))


def _is_text_map(value: JsonValue) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Turn what the operating system or a broken file says into an error of ours."""
    try:
        yield
    except ConfigError as exc:
        raise RecordingError(f"{path}: the recording can't be used: {exc}") from exc
    except OSError as exc:
        raise RecordingError(f"{path}: the recording can't be used: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL in the path
        raise RecordingError(f"{str(path)!r} can't be the name of a recording: {exc}") from exc
