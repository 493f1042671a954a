"""How long a user waits: the smoke run of 5 documents, warm, what of it is ours besides imports, and `--help`.

The smoke run is timed as a command. A process that imports the same modules in the same order and ends is timed beside
it; the difference is what the command does with them.

    uv run python benchmarks/start_up.py --documents 5 --rounds 5
"""

import argparse
import contextlib
import functools
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Table
from side_by_side import as_a_user, table_of, take_all

ROOT = Path(__file__).resolve().parent.parent
WANTED = {"smoke run": 6.0, "smoke run, besides imports": 1.5, "--help": 0.4}
"""The most that each may take, in seconds."""


def seconds(*words: str) -> float:
    """Run a Python command to its end; return how long it took."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=as_a_user())
    spent = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    return spent


def smoke(documents: int, modules: Path) -> None:
    """Run the smoke run in this process and write which modules it imported, in order."""
    from agent_pipeline.cli.smoke import smoke as command  # noqa: PLC0415 - what is imported is what is measured

    sys.argv = ["smoke", "--limit", str(documents), "--clean", "--quiet"]
    with contextlib.suppress(SystemExit):
        command(default_config=ROOT / "configs" / "smoke.yaml")
    modules.write_text(json.dumps(list(sys.modules)), encoding="utf-8")


def import_all(modules: Path) -> None:
    """Import what the smoke run imported; some names are made by their packages and can't be."""
    for name in json.loads(modules.read_text(encoding="utf-8")):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def once(documents: int, modules: Path) -> dict[str, float]:
    """Time the three commands."""
    command = str(ROOT / "scripts" / "smoke.py")
    whole = seconds(command, "--limit", str(documents), "--clean", "--quiet")
    imports = seconds(__file__, "imports", str(modules))
    return {
        "smoke run": whole,
        "the same imports": imports,
        "smoke run, besides imports": whole - imports,
        "--help": seconds(str(Path(sys.executable).with_name("agent-pipeline")), "--help"),
    }


def compare(documents: int, rounds: int) -> Table:
    """Return the table, after a first run that nobody times."""
    with tempfile.TemporaryDirectory() as temporary:
        modules = Path(temporary) / "modules.json"
        seconds(__file__, "smoke", str(documents), str(modules))
        seconds(__file__, "imports", str(modules))
        figures = take_all(rounds, functools.partial(once, documents, modules))
    title = f"Seconds of the smoke run of {documents} documents, and of help"
    return table_of(title, figures, wanted=WANTED, program=__doc__)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["smoke", documents, modules]:
            smoke(int(documents), Path(modules))
        case ["imports", modules]:
            import_all(Path(modules))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=5)
            parser.add_argument("--rounds", type=int, default=5)
            given = parser.parse_args()
            print(compare(given.documents, given.rounds).as_text())


if __name__ == "__main__":
    main()
