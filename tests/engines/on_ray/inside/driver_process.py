"""A run on Ray as a command in a process of its own, and the provider it asks, in another: either can be killed."""

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.integration.project import Project

RAY = ("--engine", "ray", "--workers", "2", "--worker-concurrency", "10", "--shard-size", "10")
AS_INSTALLED = ("-m", "agent_pipeline")
IMPATIENT = """\
import functools, os, sys
from agent_pipeline.engines.driver import attendant, driver
driver.Patience = functools.partial(attendant.Patience, silence=4.0, last_words=2.0)
{more}
from agent_pipeline.cli.app import main
sys.exit(main())
"""
"""The program, that waits four seconds for workers."""
_READY = re.compile(r" WORKER_READY .*?\bpid=(\d+)")


class DriverProcess:
    """A command, and what it says while it runs.

    Args:
        arguments: of the command.
        program: what Python is given before them.
    """

    def __init__(self, *arguments: str, program: Sequence[str] = AS_INSTALLED) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def said(self) -> str:
        """What it wrote to stderr so far."""
        return "".join(self._said)

    def worker(self, number: int, seconds: float = 300.0) -> int:
        """Wait until so many workers were ready in all; return the process of that one."""
        return int(self.heard(_READY, number, seconds)[1])

    def heard(self, pattern: re.Pattern[str], number: int = 1, seconds: float = 300.0) -> re.Match[str]:
        """Wait until this was said so many times; return the last of them."""
        deadline = time.monotonic() + seconds
        while len(found := [*pattern.finditer(self.said)]) < number:
            assert time.monotonic() < deadline, f"not said {number} times: {pattern.pattern}\n{self.said[-5000:]}"
            assert self.process.poll() is None, f"it has ended:\n{self.said[-5000:]}"
            time.sleep(0.05)
        return found[number - 1]

    def result(self, seconds: float = 300.0) -> dict[str, Any]:
        """Wait for the end; return what it printed."""
        self.process.wait(seconds)
        self._listener.join()
        assert self.process.stdout is not None
        with self.process.stdout:
            printed = self.process.stdout.read()
        assert printed.count("\n") == 1, f"{printed}\n{self.said[-5000:]}"
        result: dict[str, Any] = json.loads(printed)
        return result

    def kill(self) -> None:
        """End it as the system would."""
        self.process.kill()
        self.process.wait()
        self._listener.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            self._said.extend(self.process.stderr)


def start(project: Project, *flags: str, program: Sequence[str] = AS_INSTALLED) -> DriverProcess:
    """Start a run."""
    return DriverProcess("run", str(project.config), "--yes", "--json", "--display", "log", *flags, program=program)


@contextmanager
def provider(folder: Path, latency: float) -> Generator[str]:
    """Serve the simulator in a process of its own; give its address."""
    faults = folder / "faults.yaml"
    faults.write_text(f"latency: {latency}\n", encoding="utf-8")
    command = [sys.executable, "-m", "agent_pipeline", "simulate", "--faults", str(faults), "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    with server.stdout:
        try:
            yield json.loads(server.stdout.readline())["base_url"]
        finally:
            server.terminate()
            server.wait()


def seen_by(url: str) -> dict[str, Any]:
    """Return the counters of the simulator at this address."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/simulator/statistics", timeout=30) as answer:  # noqa: S310 - loopback
        counters: dict[str, Any] = json.load(answer)
    return counters


def rows(project: Project, query: str) -> list[tuple[Any, ...]]:
    """Return what the newest run's ledger answers."""
    with closing(sqlite3.connect(project.runs()[-1] / "ledger.sqlite3")) as ledger:
        return ledger.execute(query).fetchall()


def check_each_succeeded_once(project: Project, documents: int) -> None:
    """See that documents, ledger and artifacts tell the same: all of them, none twice."""
    ends = rows(project, "SELECT document_id, outcome FROM documents ORDER BY document_id")

    assert ends == [(f"d{number:04}", "succeeded") for number in range(1, documents + 1)]
    assert len([*project.artifacts.glob("d*")]) == documents
