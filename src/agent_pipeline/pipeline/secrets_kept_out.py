"""The secrets a run knows of: no document that holds one is worked on, and no result is kept with one in it."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar, cast

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.errors import DocumentInvalidError
from agent_pipeline.telemetry import SecretValues

T = TypeVar("T")


async def refuse_secrets(entries: AsyncGenerator[SourceEntry], secrets: SecretValues) -> AsyncGenerator[SourceEntry]:
    """Yield the entries as they come; a document with a secret anywhere in it comes as one that can't be used.

    Neither its content nor a name with the secret in it goes any further. `entries` is closed with this.
    """
    async with aclosing(entries):
        async for entry in entries:
            yield _checked(entry, secrets)


def without_secrets(document: Document, secrets: SecretValues) -> Document:
    """Return a stage's result with every secret in it replaced: a model may repeat the key it was called with."""
    text, source = secrets.text(document.text), _cleaned(document.source, secrets)
    metadata, fields = _cleaned(dict(document.metadata), secrets), _cleaned(dict(document.fields), secrets)
    same = (text, source, metadata, fields) == (document.text, document.source, document.metadata, document.fields)
    return document if same else replace(document, text=text, source=source, metadata=metadata, fields=fields)


def _cleaned(value: T, secrets: SecretValues) -> T:
    return cast("T", secrets.value(value))


def _checked(entry: SourceEntry, secrets: SecretValues) -> SourceEntry:
    texts = _texts(entry)
    if not secrets.suspects("\n".join(texts)) or not any(map(secrets.holds, texts)):
        return entry
    shown = secrets.text(entry.id)
    entry = replace(
        entry,
        # Two ids may differ in nothing but the secret.
        id=entry.id if shown == entry.id else f"{shown} ({entry.position})",
        source=_cleaned(entry.source, secrets),
        skipped=_cleaned(entry.skipped, secrets),
    )
    if entry.document is None:
        return entry
    problem = (
        f"document {entry.id} holds a key that is set in the environment, so nothing of it is sent or kept; "
        "take the key out of the document, and have it replaced where others may have seen it"
    )
    return replace(entry, document=None, error=DocumentInvalidError(problem))


def _texts(entry: SourceEntry) -> list[str]:
    texts = [entry.id, entry.source or "", entry.skipped or ""]
    if entry.document is not None:
        texts += [entry.document.text, _metadata(entry.document) if entry.document.metadata else ""]
    return texts


def _metadata(document: Document) -> str:
    try:
        return json.dumps(dict(document.metadata), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""  # no stage will see it: such a document can't be used
