"""Events of a run read back: those of one document, or of some kinds; the others are passed over unread."""

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent_pipeline.telemetry import parse_json_object, read_lines


@dataclass(frozen=True, slots=True)
class Happening:
    """One event as `events.jsonl` has it."""

    at: datetime
    event: str
    values: dict[str, Any]

    def text(self, name: str) -> str:
        """Return a field as text, empty where it is missing or null."""
        value = self.values.get(name)
        return "" if value is None else str(value)


def happenings_named(path: Path, names: Collection[str]) -> Iterator[Happening]:
    """Read the events of these names, in their order."""
    wanted = re.compile(f'"event":"(?:{"|".join(map(re.escape, names))})"')
    return (one for one in _read(path, lambda line: wanted.search(line) is not None) if one.event in names)


def happenings_of(path: Path, document_id: str) -> Iterator[Happening]:
    """Read the events of one document, in their order, those of earlier sessions too."""
    # Whether letters beyond ASCII are escaped is the writer's business; both are looked for.
    forms = {f'"document_id":{json.dumps(document_id, ensure_ascii=ascii_)}' for ascii_ in (True, False)}
    found = _read(path, lambda line: any(form in line for form in forms))
    return (one for one in found if one.values.get("document_id") == document_id)


def _read(path: Path, concerns: Callable[[str], bool]) -> Iterator[Happening]:
    """Read the lines that concern us; what is torn or broken is `verify`'s business, a file that is gone too."""

    def parse(line: str) -> Happening | None:
        if not concerns(line):
            return None
        values = parse_json_object(line)
        at = datetime.fromisoformat(str(values.get("at")))
        if at.tzinfo is None:
            raise ValueError(f"a time without its zone: {at}")
        return Happening(at, str(values.get("event", "")), values)

    try:
        for line in read_lines(path, parse):
            if line.value is not None:
                yield line.value
    except OSError:
        return
