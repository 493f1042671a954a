"""What commands write: results on stdout, messages on stderr, both safe for a terminal and quiet on a broken pipe."""

import errno
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from agent_pipeline.errors import ResultsError

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"  # OSC and the like: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LONGEST = 500
_LEFT = frozenset({errno.EPIPE, errno.EIO})
"""How a reader's leaving shows: of a pipe, and of a terminal that was closed."""


def one_line(text: str, most: int = _LONGEST) -> str:
    r"""Return foreign text as one line that can't move the cursor, colour, turn around or fake anything.

    >>> one_line("a\x1b[31m red\x1b]0;title\x07 text\r\nnext\u202e")
    'a red text next'
    """
    clean = " ".join(_clean(text).split())
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def paragraphs(text: str) -> str:
    """Return our own text, which may quote foreign one, without anything unsafe; its lines and blanks are kept."""
    return "\n".join(map(_clean, text.splitlines()))


def _clean(text: str) -> str:
    return "".join(" " if unicodedata.category(char) in _UNSAFE_CATEGORIES else char for char in _ESCAPES.sub("", text))


class Channel:
    """A text stream that never fails its user: once its reader has gone, what is written goes nowhere.

    Attributes:
        problem: why nothing more could be written, such as a full disk; None where it could, or a reader just left.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False
        self.problem: str | None = None

    def write(self, text: str) -> int:
        """Write, as far as somebody reads."""
        if not self._broken:
            try:
                self._stream.write(text)
            except UnicodeEncodeError as exc:
                self._stream.write(text.encode(exc.encoding, "backslashreplace").decode(exc.encoding))
            except (OSError, ValueError) as exc:
                self._give_up(exc)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        if not self._broken:
            try:
                self._stream.flush()
            except (OSError, ValueError) as exc:
                self._give_up(exc)

    def is_left(self) -> bool:
        """Say whether its reader has gone, as far as that shows: it does where something is still to be handed over."""
        self.flush()
        return self._broken and self.problem is None

    def end(self) -> None:
        """Hand over the last of it; the stream stays open."""
        self.flush()

    def isatty(self) -> bool:
        """Say whether a terminal reads."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding or "utf-8"

    def line(self, text: str = "") -> None:
        """Write a line at once."""
        self.write(f"{text}\n")
        self.flush()

    def _give_up(self, exc: OSError | ValueError) -> None:
        """Send the rest to nowhere, so that the interpreter's own flush at its end does not complain either."""
        self._broken = True
        if isinstance(exc, OSError) and exc.errno not in _LEFT:
            self.problem = exc.strerror or str(exc)
        try:
            target = self._stream.fileno()
        except (OSError, ValueError):
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)


def open_standard_streams() -> None:
    """Let what of stdin, stdout and stderr is closed lead nowhere, as under some supervisors (`2>&-`).

    Else there is nothing to write to, and the next file that is opened gets the number of what is missing, and with it
    whatever is meant for there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)  # of equal numbers: the lowest free one is this
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def out() -> Channel:
    """Return stdout, as it is now."""
    return Channel(sys.stdout)


def err() -> Channel:
    """Return stderr, as it is now."""
    return Channel(sys.stderr)


def print_results(texts: Iterable[str]) -> None:
    """Write on stdout what somebody keeps in a file: a table, figures.

    Raises:
        ResultsError: not all of it could be written, and not because its reader had enough.
    """
    channel = out()
    for text in texts:
        channel.write(text)
    channel.flush()
    if channel.problem is not None:
        raise ResultsError(f"the results can't be written on standard output: {channel.problem}")


def say(text: str) -> None:
    """Write a message of ours on stderr."""
    err().line(paragraphs(text))


def print_json(value: Mapping[str, object]) -> None:
    """Write one JSON object as a line of stdout; ASCII only, so that it survives every locale."""
    out().line(json.dumps(value, ensure_ascii=True, allow_nan=False))
