"""Documents in one JSON file: the object format (`scraped_documents`, `follow_up_documents`) or a plain list."""

import json
import os
from pathlib import Path

from agent_pipeline.documents.entries import Place, listed, listed_entry, read_id, scraped_entry
from agent_pipeline.documents.files import decode, open_named
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import InputError

MAX_JSON_BYTES = 512 * 1024 * 1024
"""A JSON file is read as a whole, and takes several times its size in memory."""

_LISTS = ("scraped_documents", "follow_up_documents")


def load_entries(path: Path, max_bytes: int = MAX_JSON_BYTES) -> list[SourceEntry]:
    """Read all entries of a JSON file.

    Raises:
        InputError: too large, not UTF-8, not JSON, of another shape, without entries, or with ids that can't be used.
    """
    value = _load(path, max_bytes)
    if isinstance(value, list):
        return _listed(path, value)
    if isinstance(value, dict):
        return _scraped(path, value)
    raise InputError(f"{path}: the top level must be a list of documents or an object with {' and '.join(_LISTS)}")


def _load(path: Path, max_bytes: int) -> object:
    with open_named(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > max_bytes:
            raise InputError(
                f"{path}: {size_bytes} bytes are too many for one JSON value (at most {max_bytes}); "
                "use JSON Lines (one document per line, .jsonl), which is read line by line"
            )
        content = file.read()
    try:
        text = decode(content)
        del content
        return json.loads(text) if text.strip() else _refuse_empty(path)
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8 text (byte {exc.start})") from exc
    except json.JSONDecodeError as exc:
        advice = "; one JSON value per line belongs into a .jsonl file" if exc.msg == "Extra data" else ""
        raise InputError(f"{path}:{exc.lineno}:{exc.colno}: not JSON: {exc.msg}{advice}") from exc
    except RecursionError as exc:
        raise InputError(f"{path}: nested too deeply") from exc
    except ValueError as exc:  # a number with more digits than Python converts
        raise InputError(f"{path}: not usable JSON: {exc}") from exc


def _refuse_empty(path: Path) -> object:
    raise InputError(f"{path}: the source is empty")


def _scraped(path: Path, value: dict[str, object]) -> list[SourceEntry]:
    present = [name for name in _LISTS if name in value]
    if not present:
        keys = listed(sorted(value)) or "no keys"
        raise InputError(f"{path}: unknown shape: an object with {keys}, but neither {' nor '.join(_LISTS)}")
    entries: list[SourceEntry] = []
    for name in present:
        items = value[name]
        if not isinstance(items, list):
            raise InputError(f"{path}: {name} must be a list")
        for index, item in enumerate(items):
            entries.append(scraped_entry(Place(len(entries) + 1, f"{path}: {name}[{index}]"), item))
    return entries or _no_entries(path)


def _listed(path: Path, items: list[object]) -> list[SourceEntry]:
    entries: list[SourceEntry] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        place = Place(index + 1, f"{path}: [{index}]")
        try:
            document_id = read_id(item.get("id") if isinstance(item, dict) else None, place.position)
        except InputError as exc:
            raise InputError(f"{place.where}: {exc}") from exc
        if document_id in seen:
            raise InputError(f"{place.where}: the id {document_id!r} is already that of [{seen[document_id]}]")
        seen[document_id] = index
        entries.append(listed_entry(place, item))
    return entries or _no_entries(path)


def _no_entries(path: Path) -> list[SourceEntry]:
    raise InputError(f"{path}: the source is empty: it holds no documents")
