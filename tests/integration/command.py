"""The command line as a process: started, waited for, signalled, and what it wrote."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = Path(__file__).with_name("launcher.py")
PATIENCE = 60.0
"""Seconds after which a process counts as hanging."""


def environment(**variables: str) -> dict[str, str]:
    """Return an environment without keys, proxies or anything else that could decide a test."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {**kept, "CI": "1", "PYTHONUTF8": "1", **variables}


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended by itself."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, object]:
        """What `--json` printed: the last line of stdout."""
        value = json.loads(self.stdout.splitlines()[-1])
        assert isinstance(value, dict)
        return value


class Process:
    """A running command."""

    def __init__(self, launcher: "Launcher", pid: int, folder: Path) -> None:
        self.pid = pid
        self._launcher = launcher
        self._folder = folder
        self._exit_code: int | None = None

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return (self._folder / "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """What it has written so far."""
        return (self._folder / "stderr").read_text(encoding="utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs; negative is the signal that killed it."""
        if self._exit_code is None:
            self._exit_code = self._launcher.poll(self.pid)
        return self._exit_code

    def wait(self, patience: float = PATIENCE) -> Ended:
        """Wait for the end; a process that hangs is killed and fails the test."""
        wait_until(lambda: self.poll() is not None, patience, lambda: f"hangs:\n{self._hanging()}")
        assert self._exit_code is not None
        return Ended(self._exit_code, self.stdout, self.stderr)

    def _hanging(self) -> str:
        self.kill()
        return self.stderr[-4000:]

    def kill(self) -> None:
        """End it whatever it does."""
        while self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)


def wait_until(holds: Callable[[], bool], patience: float, complain: Callable[[], str]) -> None:
    """Look every few milliseconds whether something holds."""
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(complain())
        time.sleep(0.005)


class Launcher:
    """Starts commands in a process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, str(LAUNCHER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT)),
        )
        try:
            assert self._answer() == {"threads": 1}, "a process with threads can't be forked"
        except AssertionError:
            self.close()
            raise

    def start(
        self,
        *command: object,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        descriptors: tuple[int, int] | None = None,
        audit: Path | None = None,
        script: Path | None = None,
    ) -> Process:
        """Start a command line (or a script with these arguments).

        Args:
            command: without the program's name.
            cwd: its working directory.
            env: the whole environment.
            stdin: what it reads there.
            descriptors: soft and hard limit on open files.
            audit: where the network calls it makes are recorded.
            script: a Python program instead of `agent-pipeline`.
        """
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        order = {
            "command": [str(part) for part in command],
            "cwd": str(cwd),
            "env": dict(environment() if env is None else env),
            "stdin": str(stdin or os.devnull),
            "stdout": str(folder / "stdout"),
            "stderr": str(folder / "stderr"),
            "descriptors": descriptors,
            "audit": None if audit is None else str(audit),
            "script": None if script is None else str(script),
        }
        for name in ("stdout", "stderr"):
            (folder / name).touch()
        pid = self._ask(order)["pid"]
        assert isinstance(pid, int)
        return Process(self, pid, folder)

    def run(
        self,
        *command: object,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        descriptors: tuple[int, int] | None = None,
        audit: Path | None = None,
        script: Path | None = None,
    ) -> Ended:
        """Start a command line and wait for its end; see `start`."""
        return self.start(
            *command, cwd=cwd, env=env, stdin=stdin, descriptors=descriptors, audit=audit, script=script
        ).wait()

    def poll(self, pid: int) -> int | None:
        """Return the exit code of a child, None while it runs."""
        code = self._ask({"wait": pid})["exit"]
        assert code is None or isinstance(code, int)
        return code

    def close(self) -> None:
        """End the launcher; its children have ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _ask(self, order: Mapping[str, object]) -> dict[str, object]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the launcher has died"
        value = json.loads(line)
        assert isinstance(value, dict)
        return value
