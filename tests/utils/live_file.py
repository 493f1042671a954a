"""The file of a config: written as others write it, read by a parser that is not ours."""

import json
from pathlib import Path

DEFAULTS = {"MAX_CONCURRENT_REQUESTS": 25, "PAUSE": 0.5, "MODEL": "gpt-oss"}


def edit(path: Path, values: object) -> None:
    """Write the file as somebody else would."""
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")


def held(path: Path) -> object:
    """Return what is in the file."""
    return json.loads(path.read_text(encoding="utf-8"))
