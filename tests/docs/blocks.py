"""Fenced blocks of the documentation: how they are marked, and how they are carried out.

A comment on the line above a block says what is special about it:

- `<!-- slow -->`: carried out with the slow tests only;
- `<!-- not run: why -->`: not carried out;
- `<!-- output -->`: each line of this block is printed by the last `sh` block before it; `…` stands for anything;
- `<!-- slow output -->`: the same, of a slow one.

`sh` blocks are run in order, in a folder that each document has for itself. A `python` or `yaml` block whose first line
is a comment that names a file is written there; other Python is run, other YAML read.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from tests.house.tracked import ROOT

TIMEOUT = 100.0
"""Seconds one block may take on a busy machine."""

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:py|yaml))\n")
_COPIED = ("configs", "examples", "scripts")
_PORT = "8123"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        mark: the comment above it, empty without one.
        line: of its fence, from 1.
    """

    document: str
    line: int
    mark: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file it is the content of, None for a block of another kind."""
        named = _FILE.match(self.text) if self.language in {"python", "yaml"} else None
        return None if named is None else named["name"]

    @property
    def is_run(self) -> bool:
        """Whether it is carried out at all."""
        return not self.mark.startswith("not run: ")

    @property
    def is_slow(self) -> bool:
        """Whether only the slow tests carry it out."""
        return self.mark in {"slow", "slow output"}

    @property
    def is_output(self) -> bool:
        """Whether its lines are printed by the block before."""
        return self.mark in {"output", "slow output"}

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: str) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(document, text[: found.start("language")].count("\n") + 1, found["mark"] or "", found["language"], inside)
        for found in _FENCE.finditer(text)
        for inside in [found["text"]]
    ]


class Reader:
    """Somebody who follows a document from top to bottom.

    Args:
        folder: empty; becomes a clone without its environment.
        port: in the place of the one that the documents name.
    """

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder = folder
        self.printed = ""
        self._port = str(port)
        for name in _COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._environment = _environment(folder)

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: it does not work.
        """
        text = block.text.replace(_PORT, self._port)
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif block.language == "sh":
            self.printed = self._run(block, ["bash", "-euo", "pipefail", "-c", text])
        elif block.language == "python":
            self._run(block, [sys.executable, "-c", text])
        elif block.language == "yaml":
            assert YAML(typ="safe", pure=True).load(text), f"{block}: this YAML says nothing"
        elif block.is_output:
            missing = list(_missing(text, self.printed))
            assert not missing, f"{block}: not printed: {missing}\n--- but ---\n{self.printed}"

    def _run(self, block: Block, command: list[str]) -> str:
        # Into a file: a process left behind would keep a pipe open. It goes with its group.
        path = self.folder / "printed.txt"
        with path.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code: int | str = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                code = f"nothing after {TIMEOUT:g} s"
            finally:
                _end(process)
        printed = path.read_text(encoding="utf-8")
        assert code == 0, f"{block}: ended with {code}\n{block.text}\n--- printed ---\n{printed}"
        return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _missing(wanted: str, printed: str) -> Iterator[str]:
    for line in wanted.splitlines():
        pattern = ".*".join(map(re.escape, line.strip().split("…")))
        if not re.search(rf"^\s*{pattern}\s*$", printed, re.MULTILINE):
            yield line


def _environment(folder: Path) -> dict[str, str]:
    """The environment of a newcomer without a key, whose uv knows the clone the tests run in."""
    shims = folder / ".shims"
    shims.mkdir()
    # The one thing that is not done: what it installs is there.
    _program(shims / "pip", "#!/bin/sh\n")
    if shutil.which("sqlite3") is None:
        _program(shims / "sqlite3", _SQLITE)
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "uv is not on the path"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "COV", "PYTEST"))}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(shims), str(Path(uv).parent), inherited.get("PATH", "")]),
        "UV_PROJECT": str(ROOT),
        "UV_NO_SYNC": "1",
        "NO_COLOR": "1",
        "CI": "1",
        "COLUMNS": "120",
    }


_SQLITE = f"""#!{sys.executable}
import sqlite3, sys
path, query = [one for one in sys.argv[1:] if not one.startswith("-")]
for row in sqlite3.connect(path).execute(query):
    print(*row)
"""


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o700)
