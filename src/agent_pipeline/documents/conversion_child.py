"""The program that converts PDF, Word and HTML to markdown, in a process of its own; it is run, not imported.

What it reads may be hostile. So it has a limit of memory and of processor time, reaches no network, starts no other
process, and whoever started it may kill it at any time. It imports nothing of this package, to begin soon.

Asked on stdin: a line of JSON (`suffix`, `size`, `cpu_seconds`, `memory_bytes`), then `size` bytes. Answered on stdout:
a line of JSON (`size`, `title`), then the markdown; or (`problem`). It ends with its stdin, also in the middle of a
file: who was killed can't kill it.
"""

import io
import json
import os
import re
import resource
import select
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

from bs4.dammit import EncodingDetector
from markitdown import DocumentConverter, StreamInfo
from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter

_CONVERTERS: dict[str, type[DocumentConverter]] = {
    ".pdf": PdfConverter,
    ".docx": DocxConverter,
    ".html": HtmlConverter,
    ".htm": HtmlConverter,
}
_WEB_PAGES = frozenset({".html", ".htm"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What no text means: form feeds between pages, NULs, escapes."""

_FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.", "os.system")
_FORBIDDEN_TOO = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "urllib.Request")
_LONGEST_PROBLEM = _LONGEST_TITLE = 300
"""Characters."""


def convert(content: bytes, suffix: str) -> tuple[str, str | None]:
    """Return the markdown of a file, and its title if it says one; the suffix alone decides what it is taken for."""
    charset = _charset(content) if suffix in _WEB_PAGES else None
    made = _CONVERTERS[suffix]().convert(io.BytesIO(content), StreamInfo(extension=suffix, charset=charset))
    return _CONTROLS.sub("", made.markdown).strip(), made.title


def _charset(content: bytes) -> str:
    """Return what a web page is written in: UTF-8 if it can be, else what it says, else what browsers take then."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return EncodingDetector.find_declared_encoding(content, is_html=True) or "windows-1252"
    return "utf-8"


def _refuse(event: str, _arguments: object) -> None:
    if event.startswith((*_FORBIDDEN, *_FORBIDDEN_TOO)):
        msg = f"{event} is not for documents"
        raise PermissionError(msg)


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    with suppress(ValueError, OSError):  # where the system knows no such limit, the one who waits has another
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    used = resource.getrusage(resource.RUSAGE_SELF)
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds, most))


def _answer(asked: dict[str, object], content: bytes) -> tuple[dict[str, object], bytes]:
    try:
        text, title = convert(content, str(asked["suffix"]))
        markdown = text.encode("utf-8", "replace")
    except MemoryError:
        return {"problem": "memory"}, b""
    except Exception as exc:  # noqa: BLE001 - a hostile file may raise anything, and this is the border
        words = " ".join(f"{type(exc).__name__}: {exc}".split())
        return {"problem": words[:_LONGEST_PROBLEM]}, b""
    cut = None if title is None else " ".join(title.encode("utf-8", "replace").decode().split())[:_LONGEST_TITLE]
    return {"size": len(markdown), "title": cut or None}, markdown


def serve(asking: BinaryIO, answering: BinaryIO) -> None:
    """Convert what is asked for, one file after the other, until nobody asks any more."""
    while line := asking.readline():
        asked = json.loads(line)
        content = asking.read(asked["size"])
        _limit(asked["memory_bytes"], asked["cpu_seconds"])
        head, markdown = _answer(asked, content)
        answering.write(json.dumps(head).encode() + b"\n" + markdown)
        answering.flush()


def _end_with(asking: BinaryIO) -> None:
    """Wait until nobody can ask any more, and end the process, whatever it does."""
    ends = select.poll()
    ends.register(asking, 0)  # that the other end is closed is told without being asked for
    ends.poll()
    os._exit(1)


def main() -> None:
    """Serve on stdin and stdout; what libraries print goes nowhere."""
    answering = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.addaudithook(_refuse)
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    serve(sys.stdin.buffer, answering)


if __name__ == "__main__":
    main()
