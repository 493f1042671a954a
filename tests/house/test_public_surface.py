"""The names a user may import, compared with a snapshot, so that none comes or goes unnoticed.

After a change that is meant: `uv run python -m tests.house.test_public_surface > tests/house/public_surface.txt`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PUBLIC = ("", ".llmhub", ".utils", ".batch", ".adapters", ".testing")
SNAPSHOT = Path(__file__).parent / "public_surface.txt"


def surface() -> str:
    """Return one line per public name, `module: name`, of every public module that exists."""
    lines = []
    for module in (f"agent_pipeline{suffix}" for suffix in PUBLIC):
        if importlib.util.find_spec(module) is not None:
            names = getattr(importlib.import_module(module), "__all__", ())
            lines += [f"{module}: {name}\n" for name in sorted(names)]
    return "".join(lines)


def test_public_names_are_those_of_the_snapshot() -> None:
    """Removing a name breaks users; adding one is a promise."""
    assert surface() == SNAPSHOT.read_text(encoding="utf-8")


def test_every_public_name_can_be_imported() -> None:
    """A lazy `__init__` names things before it has them."""
    missing = [
        line
        for line in surface().splitlines()
        if not hasattr(importlib.import_module(line.split(": ")[0]), line.split(": ")[1])
    ]

    assert not missing


if __name__ == "__main__":
    sys.stdout.write(surface())
