"""Secrets out of texts: known values and what looks like a key become `[redacted]`."""

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

REDACTED = "[redacted]"

_SHORTEST_SECRET = 4
"""A shorter value is no secret, and replacing it would garble every line."""

_MARKERS = ("sk-", "gsk_", "aiza", "bearer", "authorization")
_API_KEY_MARKERS = ("api_key", "api-key", "apikey")
"""Lower case; a text with none of these matches no pattern below, and looking for a plain word is far cheaper."""

_VALUE = r"""[^\s"'\\,;()<>\[\]{}&]+"""
_NOT_A_VALUE = r"(?!(?:null|none|true|false)\b)"
_API_KEY = r"""api[_-]?key["'\\]*\s*[:=]\s*(?:b(?=\\*["']))?+"""
_PATTERNS = (
    # A key may follow an escaped newline: there, the letter before it is part of the escape.
    (re.compile(r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:g?sk[-_][\w*-]{6,}|AIza[\w-]{20,})"), REDACTED),
    (
        re.compile(
            r"""(authorization(?:["'\\]+\s*,|["'\\]*\s*[:=])\s*(?:b(?=["']))?+["'\\]*+)(?:[a-z]+\s+)?""" + _VALUE,
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(bearer(?:\s|\\[nrt]|%20)+)" + _VALUE, re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(rf"""({_API_KEY}\\*["'])[^"'\\\r\n\[]+""", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(rf"({_API_KEY}){_NOT_A_VALUE}{_VALUE}", re.IGNORECASE), rf"\1{REDACTED}"),
)
_SECRET_NAME = re.compile(r"(?:api[_-]?key|authorization)$", re.IGNORECASE)


class Redactor:
    """Replace known secrets and key-like patterns; immutable, usable from any thread.

    Args:
        secrets: values that must not be seen, as they are; also found percent-encoded or escaped as in JSON.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)}
        self._secrets = tuple(sorted(forms, key=len, reverse=True))
        self._known = re.compile("|".join(map(re.escape, self._secrets))) if self._secrets else None

    def suspects(self, text: str) -> bool:
        """Say quickly whether `text`, perhaps an encoded one, may hold anything to replace."""
        lowered = text.lower()
        for marker in _MARKERS:
            if marker in lowered:
                return True
        for secret in self._secrets:
            if secret in text:
                return True
        return "api" in lowered and any(marker in lowered for marker in _API_KEY_MARKERS)

    def text(self, text: str) -> str:
        """Return `text` without secrets.

        >>> Redactor(["hunter22"]).text("password hunter22, Authorization: Bearer abc.def")
        'password [redacted], Authorization: [redacted]'
        """
        if not self.suspects(text):
            return text
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: object, name: str = "") -> object:
        """Return a JSON value without secrets in its texts, keys and numbers; other values are returned as they are.

        Structure stays: what can be encoded before can be encoded after. `name` is the key the value stands under.
        """
        if isinstance(value, str):
            return REDACTED if value and _SECRET_NAME.search(name) else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            secret = _SECRET_NAME.search(name) or any(form in repr(value) for form in self._secrets)
            return REDACTED if secret else value
        return value


def _forms(secret: str) -> set[str]:
    """How a secret looks in plain, JSON (both ways of writing non-ASCII) and percent-encoded text."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}


PATTERNS_ONLY = Redactor()
"""Knows no secret, only what keys look like."""
