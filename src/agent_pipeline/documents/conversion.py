"""Files that are no text, converted to markdown by a child process that can be killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agent_pipeline.documents.entries import MAX_DOCUMENT_BYTES
from agent_pipeline.errors import DocumentInvalidError, InputError

CONVERTED_SUFFIXES = frozenset({".pdf", ".docx", ".html", ".htm"})
"""Files that are converted, by the end of their names."""

CONVERSION_TIMEOUT = 120.0
"""Seconds for one file, the start of the process included."""

CONVERSION_MEMORY_BYTES = 2 * 1024**3
"""Address space of a converting process, of which its libraries take a quarter of a GiB."""

_EXTRA = "install agent-pipeline[documents] from where you have agent-pipeline (docs/optional-dependencies.md)"
_CHILD = Path(__file__).with_name("conversion_child.py")
_COMMAND = (sys.executable, "-P", str(_CHILD))  # -P: what stands beside it must not be taken for other modules
_KEPT_VARIABLES = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
_LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Converted:
    """What a file said: its text as markdown, and a title if it has one."""

    text: str
    title: str | None


def is_converted(path: Path) -> bool:
    """Say whether a file of this name is converted before it is a document."""
    return path.suffix.lower() in CONVERTED_SUFFIXES


def can_convert() -> bool:
    """Say whether what converts is installed; it is not imported."""
    return find_spec("markitdown") is not None


def check_can_convert(path: Path) -> None:
    """See that a file of this name can be converted, if it has to be.

    Raises:
        InputError: what converts is not installed; names the extra.
    """
    if is_converted(path) and not can_convert():
        raise InputError(f"{path}: to read {path.suffix.lower()} files, {_EXTRA}")


class ConversionProcess:
    """One child process, begun at the first file and again after one that it did not survive.

    Its methods block; they are for one thread at a time, but for `kill`.

    Args:
        command: the program, which talks as `conversion_child` says.
        timeout: seconds for one file.
    """

    def __init__(self, command: Sequence[str] = _COMMAND, *, timeout: float = CONVERSION_TIMEOUT) -> None:
        self._command = command
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._is_killed = False

    def convert(self, content: bytes, suffix: str) -> Converted:
        """Convert one file.

        Raises:
            DocumentInvalidError: it can't be converted: damaged, without text, or it took too much time or memory.
        """
        is_late = threading.Event()
        process = self._started()
        timer = threading.Timer(self._timeout, self._stop, (process, is_late))
        timer.daemon = True
        timer.start()
        try:
            return _ask(process, content, suffix, round(self._timeout))
        except (OSError, ValueError, _DiedError) as exc:
            self._stop(process)
            raise DocumentInvalidError(self._ending(process, is_late=is_late.is_set())) from exc
        except DocumentInvalidError:
            self._stop(process)  # its memory is full, or what it holds is not known
            raise
        finally:
            timer.cancel()
            timer.join()

    def kill(self) -> None:
        """End it for good, from any thread; who waits for it goes on at once."""
        with self._changing:
            self._is_killed = True
            process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End it and wait until it has ended, which is at once."""
        self.kill()
        if self._process is not None:
            self._stop(self._process)

    def _started(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._is_killed:
                raise DocumentInvalidError("the conversion was cancelled")
            if self._process is None:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    # No keys: what it reads is foreign. Ctrl-C is for us, who end it.
                    env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                    start_new_session=True,
                )
            return self._process

    def _stop(self, process: subprocess.Popen[bytes], is_late: threading.Event | None = None) -> None:
        """Kill it; the next file gets another. By the timer, only that: who waits for it does the rest."""
        process.kill()
        if is_late is not None:
            is_late.set()
            return
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet
                    pipe.close()
        with self._changing:
            if self._process is process:
                self._process = None

    def _ending(self, process: subprocess.Popen[bytes], *, is_late: bool) -> str:
        if is_late or process.returncode == -signal.SIGXCPU:
            return f"converting it to text took more than {self._timeout:g} s"
        if self._is_killed:
            return "the conversion was cancelled"
        return f"converting it to text broke off (exit code {process.returncode})"


class _DiedError(Exception):
    """The child closed its pipe, or answered nonsense."""


def _ask(process: subprocess.Popen[bytes], content: bytes, suffix: str, cpu_seconds: int) -> Converted:
    asking, answering = process.stdin, process.stdout
    if asking is None or answering is None:
        raise _DiedError
    asked = {"suffix": suffix, "size": len(content), "cpu_seconds": cpu_seconds}
    asking.write(json.dumps({**asked, "memory_bytes": CONVERSION_MEMORY_BYTES}).encode() + b"\n" + content)
    asking.flush()
    line = answering.readline(_LONGEST_HEAD)
    if not line.endswith(b"\n"):
        raise _DiedError
    head = json.loads(line)
    if not isinstance(head, dict) or not ("problem" in head or isinstance(head.get("size"), int)):
        raise _DiedError
    if head.get("problem") == "memory":
        raise DocumentInvalidError(f"converting it to text took more than {CONVERSION_MEMORY_BYTES:,} bytes of memory")
    if "problem" in head:
        raise DocumentInvalidError(f"it can't be converted to text: {head['problem']}")
    if head["size"] > MAX_DOCUMENT_BYTES:
        raise DocumentInvalidError(f"the text in it has more than {MAX_DOCUMENT_BYTES} bytes")
    text = answering.read(head["size"])
    if len(text) < head["size"]:
        raise _DiedError
    if not text.strip():
        raise DocumentInvalidError("there is no text in it; a scan has to go through text recognition (OCR) first")
    return Converted(text.decode("utf-8"), head.get("title"))
