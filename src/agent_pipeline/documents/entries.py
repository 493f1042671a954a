"""One entry of a source: which of its values are the id, the text, the source and the metadata, and what is refused."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from agent_pipeline.domain.document import Document, JsonValue, SourceEntry
from agent_pipeline.errors import DocumentInvalidError, InputError

MAX_DOCUMENT_BYTES = 10 * 1024 * 1024
MAX_ID_LENGTH = 512

TEXT_KEYS = ("text", "markdown", "content")
URL_KEYS = ("url", "source_url", "link")
METADATA_KEYS = ("metadata", "meta")

_STRICT = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


class Place(NamedTuple):
    """Where an entry stands: its number in the source (from 1) and the words a person finds it by."""

    position: int
    where: str


def listed(names: Iterable[str]) -> str:
    """Return names as a message shows them: the first ones, none of them endless.

    >>> listed(["id", "x" * 1000])
    "'id', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'"
    """
    some = [repr(name if len(name) <= 40 else f"{name[:40]}…") for name in islice(names, 13)]
    return ", ".join([*some[:12], "…"] if len(some) > 12 else some)


def invalid(place: Place, problem: str, *, document_id: str | None = None) -> SourceEntry:
    """Return an entry that can't be used; its position stands in for an id it may not have."""
    error = DocumentInvalidError(f"{place.where}: {problem}")
    return SourceEntry(place.position, document_id or str(place.position), place.where, error=error)


def read_id(value: object, position: int) -> str:
    """Return the id of an entry as text; its position where it names none.

    Raises:
        InputError: the id can't be used.

    >>> read_id(7, 1), read_id(None, 2)
    ('7', '2')
    """
    if value is None:
        return str(position)
    if type(value) is not str and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise InputError(f"the id must be text or a whole number, not {_kind(value)}")
    try:
        text = str(value)
    except ValueError as exc:  # more digits than Python prints
        raise InputError("the id is a number that is too long") from exc
    if not text.strip():
        raise InputError("the id is empty")
    if len(text) > MAX_ID_LENGTH:
        raise InputError(f"the id has {len(text)} characters, more than {MAX_ID_LENGTH}")
    if not text.isprintable() and any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise InputError(f"the id {text!r} holds control characters")
    return text


def scraped_entry(place: Place, value: object) -> SourceEntry:
    """Return an entry of the object format: the id is its position, it needs a url and a text."""
    if not isinstance(value, dict):
        return invalid(place, f"an entry must be an object, not {_kind(value)}")
    document_id = str(place.position)
    url = _first_text(value, URL_KEYS)
    if url is None:
        return SourceEntry(place.position, document_id, place.where, skipped="no url (url, source_url or link)")
    metadata: object = next((value[key] for key in METADATA_KEYS if value.get(key) is not None), {})
    return _entry(place, document_id, url, _text(value, TEXT_KEYS[1:]), metadata)


def listed_entry(place: Place, value: object) -> SourceEntry:
    """Return an entry of a list, of JSON Lines or CSV: optional id, a text, the other fields are metadata.

    An object under `metadata` or `meta` is not nested: its fields join the others.
    """
    if not isinstance(value, dict):
        return invalid(place, f"an entry must be an object, not {_kind(value)}")
    try:
        document_id = read_id(value.get("id"), place.position)
    except InputError as exc:
        return invalid(place, str(exc))
    text_key = _text_key(value, TEXT_KEYS)
    metadata: dict[str, JsonValue] = {}
    for key, field in value.items():
        if key in METADATA_KEYS and isinstance(field, dict):
            metadata = {**field, **metadata}
        elif key not in {"id", text_key}:
            metadata[key] = field
    text = None if text_key is None else value[text_key]
    return _entry(place, document_id, _first_text(value, URL_KEYS) or place.where, text, metadata)


def text_entry(
    place: Place, document_id: str, text: str, metadata: Mapping[str, JsonValue] | None = None
) -> SourceEntry:
    """Return the entry of a file that is a document by itself."""
    return _entry(place, document_id, place.where, text, dict(metadata or {}))


def _entry(place: Place, document_id: str, source: str, text: object, metadata: object) -> SourceEntry:
    problem = _source_problem(source)
    if problem is None and text is None:
        return SourceEntry(place.position, document_id, source, skipped="no text (text, markdown or content)")
    problem = problem or _text_problem(text) or _metadata_problem(metadata)
    if problem is not None:
        return invalid(place, problem, document_id=document_id)
    if not isinstance(text, str) or not isinstance(metadata, dict):
        return invalid(place, "not a document", document_id=document_id)
    if not text.strip():
        return SourceEntry(place.position, document_id, source, skipped="empty text")
    return SourceEntry(place.position, document_id, source, document=Document(document_id, text, source, metadata))


def _text_key(value: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    """Return the key that holds the text: the first that is not empty, else the first that is there."""
    first = None
    for key in keys:
        found = value.get(key)
        if found is not None and found != "":
            return key
        if found is not None and first is None:
            first = key
    return first


def _text(value: Mapping[str, object], keys: tuple[str, ...]) -> object:
    key = _text_key(value, keys)
    return None if key is None else value[key]


def _first_text(value: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        item = value.get(key)
        if isinstance(item, str) and item.strip():
            return item
    return None


def _text_problem(text: object) -> str | None:
    if not isinstance(text, str):
        return f"the text must be text, not {_kind(text)}"
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "the text holds half a character (a lone surrogate)"
    return (
        f"the document has {size_bytes} bytes, more than {MAX_DOCUMENT_BYTES}"
        if size_bytes > MAX_DOCUMENT_BYTES
        else None
    )


def _source_problem(source: str) -> str | None:
    try:
        source.encode()
    except UnicodeEncodeError:
        return "the source's name holds bytes that are not UTF-8"
    return None


def _metadata_problem(metadata: object) -> str | None:
    if not isinstance(metadata, dict):
        return f"metadata must be an object, not {_kind(metadata)}"
    if not metadata:
        return None
    try:
        _STRICT.encode(metadata).encode()
    except UnicodeEncodeError:
        return "metadata holds half a character (a lone surrogate)"
    except (ValueError, RecursionError) as exc:
        return f"metadata is not JSON: {exc}"
    return None


def _kind(value: object) -> str:
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number")
