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
    """Read the events of these names, in their order; what is torn or broken is `verify`'s business."""
    return (one for one in happenings_and_gaps(path, names) if one is not None)


def happenings_and_gaps(path: Path, names: Collection[str]) -> Iterator[Happening | None]:
    """Read the events of these names, in their order, and None for each line, or the file, that can't be read."""
    wanted = re.compile(f'"event":"(?:{"|".join(map(re.escape, names))})"')
    found = _read(path, lambda line: wanted.search(line) is not None)
    return (one for one in found if one is None or one.event in names)


def happenings_of(path: Path, document_id: str) -> Iterator[Happening]:
    """Read the events of one document, in their order, those of earlier sessions too."""
    # Whether letters beyond ASCII are escaped is the writer's business; both are looked for.
    forms = {f'"document_id":{json.dumps(document_id, ensure_ascii=ascii_)}' for ascii_ in (True, False)}
    found = _read(path, lambda line: any(form in line for form in forms))
    return (one for one in found if one is not None and one.values.get("document_id") == document_id)


def _read(path: Path, concerns: Callable[[str], bool]) -> Iterator[Happening | None]:
    """Read the lines that concern us, None for what is torn or broken, and for a file that is gone."""

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
            if line.value is not None or line.problem is not None:
                yield line.value
    except OSError:
        yield None
