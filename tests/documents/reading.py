"""How the tests of sources write a source, open it, and look at its entries."""

import json
from collections.abc import Iterable
from pathlib import Path

import trio

from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.domain.document import JsonValue, SourceEntry


def read(spec: SourceSpec, *, limit: int | None = None, threaded: bool = True) -> list[SourceEntry]:
    """Open a source and take all its entries."""

    async def main() -> list[SourceEntry]:
        source = open_source(spec, limit=limit, threaded=threaded)
        return [entry async for entry in source.entries()]

    return trio.run(main)


def write(path: Path, content: str | bytes | JsonValue) -> SourceSpec:
    """Write a source file, JSON unless it is text or bytes already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
    return SourceSpec(path=Path(path.name), root=path.parent)


def texts(entries: Iterable[SourceEntry]) -> list[tuple[str, str]]:
    """Return id and text of the documents."""
    return [(entry.document.id, entry.document.text) for entry in entries if entry.document is not None]


def errors(entries: Iterable[SourceEntry]) -> list[str]:
    """Return the messages of the entries that can't be used."""
    return [str(entry.error) for entry in entries if entry.error is not None]
