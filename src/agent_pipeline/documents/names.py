"""The name of an artifact: made from untrusted text, safe on every common file system, never a path."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator

from agent_pipeline.domain.document import Document

_MAX_NAME_BYTES = 255
_DEFAULT_EXTENSION = "md"
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
_FOREIGN_EXTENSION = re.compile(r"\.(?=[A-Za-z][A-Za-z0-9]{0,9}$)")
_UNUSUAL = re.compile(r"[^-_.A-Za-z0-9]")
_DOTS = re.compile(r"[.-]*\.[.-]*")
_DASHES = re.compile(r"-{2,}")
_LASTING = re.compile(r"-[0-9a-f]{10}$")
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin", "conout", "clock"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"]
)


def candidate_names(document: Document) -> Iterator[str]:
    """Yield names for a document's artifact, the best first: its slug, with its id, then numbered without end.

    Fields `file_slug` and `extension` make the name; without a usable slug the id does, without extension `md`.
    """
    extension = safe_extension(document.fields.get("extension"))
    plain = safe_stem(document.fields.get("file_slug"), extension) or id_stem(document.id, extension)
    yield fit(plain, "", extension)
    with_id = f"-{id_stem(document.id, extension)}"
    if len(with_id.encode()) > _MAX_NAME_BYTES // 2:
        with_id = f"-{_digest(document.id)}"
    yield fit(plain, with_id, extension)
    number = 2
    while True:
        yield fit(plain, f"{with_id}-{number}", extension)
        number += 1


def safe_extension(value: object) -> str:
    """Return a plain extension without its dot; `md` for anything unusual.

    >>> safe_extension(".PY"), safe_extension("../sh"), safe_extension(None)
    ('py', 'md', 'md')
    """
    if not isinstance(value, str):
        return _DEFAULT_EXTENSION
    extension = value.strip().removeprefix(".").lower()
    return extension if _EXTENSION.fullmatch(extension) else _DEFAULT_EXTENSION


def safe_stem(value: object, extension: str) -> str:
    """Return a name without extension made of letters, digits, `-`, `_` and inner dots; empty if nothing is left.

    An extension the text already has is taken off; another one is kept as a part of the name, so that there are never
    two.

    >>> safe_stem("../Guide: part 1.md", "md"), safe_stem("setup.py", "md"), safe_stem("nul.txt", "md")
    ('Guide-part-1', 'setup-py', 'nul-txt')
    """
    if not isinstance(value, str):
        return ""
    stem = _trim(_UNUSUAL.sub(_kept, unicodedata.normalize("NFC", value)))
    while stem.lower().endswith(f".{extension}"):
        stem = _trim(stem[: -len(extension) - 1])
    stem = _FOREIGN_EXTENSION.sub("-", stem)
    # Windows takes a name for a device by what is before its first dot, in any case.
    return f"doc-{stem}" if stem.lower().partition(".")[0] in _RESERVED else stem


def id_stem(document_id: str, extension: str) -> str:
    """Return the stem that a document's id makes; never empty."""
    return safe_stem(document_id, extension) or f"document-{_digest(document_id)}"


def lasting_stem(document_id: str) -> str:
    """Return a stem that no other id has, whatever a folder holds: the same in every session of a run.

    >>> lasting_stem("7"), lasting_stem("guide/intro.md")
    ('7', 'guide-intro-md-f5e30844a0')
    """
    stem = safe_stem(document_id, "")
    is_plain = stem == document_id == folded(document_id) and not _LASTING.search(stem)
    if stem and is_plain and len(stem.encode()) <= _MAX_NAME_BYTES // 2:
        return stem
    cut = stem.encode()[: _MAX_NAME_BYTES // 2].decode("utf-8", "ignore")
    return f"{cut.rstrip('.-_') or 'document'}-{_digest(document_id)}"


def fit(stem: str, suffix: str, extension: str) -> str:
    """Put a name together in at most 255 bytes; where the stem is cut, a hash of it keeps long names apart."""
    room = _MAX_NAME_BYTES - len(f"{suffix}.{extension}".encode())
    if len(stem.encode()) > room:
        mark = f"-{_digest(stem)}"
        cut = stem.encode()[: room - len(mark)].decode("utf-8", "ignore")
        stem = f"{cut.rstrip('.-_')}{mark}"
    return f"{stem}{suffix}.{extension}"


def folded(name: str) -> str:
    """Return what two names share that some file system takes for one (case, composed letters)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _kept(unusual: re.Match[str]) -> str:
    return unusual[0] if unicodedata.category(unusual[0])[0] in "LNM" else "-"


def _trim(stem: str) -> str:
    return _DASHES.sub("-", _DOTS.sub(".", stem)).strip(".-_ ")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
