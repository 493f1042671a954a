"""A document as stages see it, what a source yields, and the artifact a document becomes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from agent_pipeline.errors import DocumentInvalidError

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

_NOTHING: Mapping[str, JsonValue] = MappingProxyType({})

_CANONICAL = json.JSONEncoder(ensure_ascii=True, sort_keys=True)
"""Made once: `json.dumps` makes one for each text where it is told anything."""

Outcome = Literal["succeeded", "failed", "skipped", "cancelled"]


@dataclass(frozen=True, slots=True)
class Document:
    """One document on its way through the stages; frozen, changed by `with_text` and `with_fields`.

    Attributes:
        id: unique within the run.
        text: the working text; what it is at the end becomes the artifact.
        source: where it came from (url or path), None if unknown.
        metadata: what the source said about it.
        fields: named JSON values that stages add; kept in the ledger.
    """

    id: str
    text: str
    source: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=lambda: _NOTHING)
    fields: Mapping[str, JsonValue] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        if self.metadata is not _NOTHING:
            object.__setattr__(self, "metadata", _frozen(self.metadata))
        if self.fields is not _NOTHING:
            object.__setattr__(self, "fields", _frozen(self.fields))

    def __reduce__(self) -> tuple[type["Document"], tuple[object, ...]]:
        """Let it be pickled, and copied: read-only views of mappings can't be."""
        return type(self), (self.id, self.text, self.source, dict(self.metadata), dict(self.fields))

    def with_text(self, text: str) -> "Document":
        """Return a copy with another working text."""
        return replace(self, text=text)

    def with_fields(self, **fields: JsonValue) -> "Document":
        """Return a copy with these fields added or replaced."""
        return replace(self, fields={**self.fields, **fields})

    def sha256(self) -> str:
        """Hash of all that a stage can see: id, text, source, metadata, fields (64 hex digits)."""
        seen = [self.id, self.text, self.source, dict(self.metadata), dict(self.fields)]
        return hashlib.sha256(_CANONICAL.encode(seen).encode()).hexdigest()


def _frozen(values: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    return MappingProxyType(dict(values)) if values else _NOTHING


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One entry of a source: exactly one of `document`, `skipped` or `error` is set.

    Attributes:
        position: from 1, in source order.
        id: the document's id, also where the entry is skipped or invalid.
        source: url, path or `file:line`, None if unknown.
        document: the document, when the entry can be worked on.
        skipped: why the entry is skipped (no text, no url).
        error: why the entry can't be used; the document counts as failed.
    """

    position: int
    id: str
    source: str | None
    document: Document | None = None
    skipped: str | None = None
    error: DocumentInvalidError | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished document on disk.

    Attributes:
        document_id: the document it came from.
        path: absolute path of the file.
        sha256: of its bytes, 64 hex digits.
        size_bytes: its length.
    """

    document_id: str
    path: str
    sha256: str
    size_bytes: int
