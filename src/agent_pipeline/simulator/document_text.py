"""Reading a document the way an extractive summariser does: find it, tidy it, take its title, sentences and kind."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from agent_pipeline.simulator.python_script import holds_statements, is_notebook_json

_DOCUMENT = re.compile(r"^[ \t]*<document[^>\n]*>[ \t]*\n(.*)^[ \t]*</document>[ \t]*$", re.DOTALL | re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff]")
_FENCE = re.compile(r"^\s*(```+|~~~+)\s*(\S*)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
_MARKUP = re.compile(r"^\s*(?:[-*+>]|\d+[.)]|#+)\s+|[*`]|\"\"\"|'''|!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])\s*")
_CELL = re.compile(r"^(?:In \[[ \d]*\]:|Out\[[ \d]*\]:|# ?%%)", re.MULTILINE)
_STATEMENT = re.compile(
    r"^(?:import |from \S+ import |def |async def |class |@\w|[A-Za-z_][\w.]*(?:\(| ?[-+*/|]?= ?\S))", re.MULTILINE
)
_COMMENT_BLOCK = re.compile(r"^#.*\n#|^# #", re.MULTILINE)  # headings stand apart, comments do not
_LONGEST_SENTENCE: Final = 2_000
_IMPORT = re.compile(r"import \w|from \S+ import ")
_PYTHON_FENCES: Final = {"python", "py", "python3", "ipython"}


def find_document(texts: Sequence[str]) -> tuple[str, str]:
    """Return the document and what is said around it.

    The last text with a block between the lines `<document>` and `</document>` has it; a block runs from the first
    opening to the last closing line, for a document may itself speak of such lines. Without a block the document is
    the whole input.
    """
    for index in range(len(texts) - 1, -1, -1):
        if match := _DOCUMENT.search(texts[index].replace("\r\n", "\n")):
            text = texts[index].replace("\r\n", "\n")
            around = [*texts[:index], text[: match.start()], text[match.end() :], *texts[index + 1 :]]
            return match[1].removesuffix("\n"), "\n".join(around)
    whole = "\n\n".join(texts)
    return whole, whole


def tidy(text: str, *, blank_lines: int = 1) -> str:
    """Return the text with clean line ends, no control characters and no longer runs of blank lines than allowed.

    Fenced blocks keep their blank lines. The result is empty or ends with one newline.
    """
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines: list[str] = []
    blanks = 0
    for line, fenced in with_fences(text):
        kept = line.rstrip()
        blanks = 0 if kept or fenced else blanks + 1
        if blanks <= blank_lines:
            lines.append(kept)
    body = "\n".join(lines).strip("\n")
    return body + "\n" if body else ""


def with_fences(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line and whether it belongs to a fenced block (its fences included)."""
    closing = ""
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if closing:
            yield line, True
            if fence and fence[1].startswith(closing) and not fence[2]:
                closing = ""
        elif fence:
            closing = fence[1]
            yield line, True
        else:
            yield line, False


def plain_line(line: str) -> str:
    """Return a line of Markdown without its marks."""
    return " ".join(_MARKUP.sub(lambda match: match[1] or "", line).split())


def title_of(text: str) -> str:
    """Return the first heading, or else the first line that says something (imports don't); at most 100 characters."""
    fallback = ""
    is_module = text.lstrip().startswith(('"""', "'''"))  # its comments are no headings
    for line, fenced in with_fences(text):
        if fenced or not plain_line(line) or _CELL.match(line):
            continue
        if is_module:
            return cut_at_word(plain_line(line), 100)
        if heading := _HEADING.match(line):
            return cut_at_word(plain_line(heading[1]), 100) or fallback
        if not fallback and not _IMPORT.match(line):
            fallback = cut_at_word(plain_line(line).strip("\"'{}[]# "), 100)
    return fallback or cut_at_word(" ".join(text.split()), 100)


def sentences_of(text: str, limit: int) -> list[str]:
    """Return the first sentences of the prose; of the whole where there is no prose."""
    found: list[str] = []
    pending = ""
    for line, fenced in chain(with_fences(text), [("", False)]):
        words = "" if fenced or _HEADING.match(line) else plain_line(line)
        if words:
            *whole, pending = (part for part in _SENTENCE_END.split(f"{pending} {words}".strip()) if part)
            found.extend(whole)
        if pending and (not words or len(pending) > _LONGEST_SENTENCE):
            found.append(pending)
            pending = ""
        if len(found) >= limit:
            break
    return found[:limit] or [part for part in [" ".join(text.split())] if part]


def summary_of(text: str, length: int = 300) -> str:
    """Return the first two sentences, at most `length` characters."""
    return cut_at_word(" ".join(sentences_of(text, 2)), length)


def slug_of(title: str, text: str, length: int = 60) -> str:
    """Return a slug of ASCII letters, digits and hyphens; from a hash of the text where the title has none of them."""
    folded = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", folded)[:length].strip("-")
    return slug or "document-" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


def cut_at_word(text: str, length: int) -> str:
    """Return at most `length` characters, ending at a word where that loses less than half."""
    if len(text) <= length:
        return text
    cut = text[:length]
    space = cut.rfind(" ")
    return cut[:space] if space > length // 2 else cut


def code_share(text: str) -> float:
    """Return how much of the text is Python, from 0.0 (prose) to 1.0 (a script or a notebook)."""
    if is_notebook_json(text) or _CELL.search(text):
        return 1.0
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return 0.0
    if all(line.startswith("#") for line in lines) and _COMMENT_BLOCK.search(text):
        return 1.0  # a script of nothing but comments
    if _STATEMENT.search(text) and holds_statements(text):
        return 1.0
    return _python_lines(text) / len(lines)


def _python_lines(text: str) -> int:
    count = 0
    inside = python = False
    for line, fenced in with_fences(text):
        if fenced and not inside:
            fence = _FENCE.match(line)
            python = fence is not None and fence[2].lower().strip("{}.") in _PYTHON_FENCES
        inside = fenced
        count += bool(line.strip()) if fenced and python else line.startswith(">>> ")
    return count
