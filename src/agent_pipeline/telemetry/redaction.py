"""Secrets out of texts: known values and what looks like a key become `[redacted]`."""

import re
from collections.abc import Iterable

from agent_pipeline.config.key_guard import BEARER_TOKEN, KEY_MARKERS, KNOWN_KEY, ends_in_secret_name
from agent_pipeline.telemetry.secret_values import REDACTED, SecretValues

_WORDS = ("auth", "bearer", "secret", "passw", "access", "private")
_API_KEY = ("api_key", "api-key", "apikey")
_IN_ADDRESS = ("@", "key=", "token=", "sig=", "signature=")
"""Lower case; a text with none of these, and none of the `KEY_MARKERS`, matches no pattern below."""

_SELDOM = "zJBKvIAkxy89hwbufg"
"""Letters that our lines hold seldom, the most seldom first: to look for one costs a fraction of looking for a word."""


def _by_letter(markers: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Group markers by a letter that each of a group holds."""
    groups: dict[str, list[str]] = {}
    for marker in markers:
        letter = next((letter for letter in _SELDOM if letter in marker), marker[0])
        groups.setdefault(letter, []).append(marker)
    return tuple((letter, tuple(group)) for letter, group in groups.items())


_MARKERS_BY_LETTER = _by_letter(KEY_MARKERS)

_VALUE = r"""[^\s"'\\,;()<>\[\]{}&]+"""
_NOT_A_VALUE = r"(?!(?:null|none|true|false)\b)"
_NAME = r"(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|secret[_-]?(?:access[_-]?)?key)"
_NAMED = rf"""{_NAME}["'\\]*\s*[:=]\s*(?:b(?=\\*["']))?+"""
_PATTERNS = (
    (KNOWN_KEY, REDACTED),
    (
        re.compile(
            r"""(authorization(?:["'\\]+\s*,|["'\\]*\s*[:=])\s*(?:b(?=["']))?+["'\\]*+)(?:[a-z]+\s+)?""" + _VALUE,
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (BEARER_TOKEN, rf"\1{REDACTED}"),
    (re.compile(rf"""({_NAMED}\\*["'])[^"'\\\r\n\[]+""", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(rf"({_NAMED}){_NOT_A_VALUE}{_VALUE}", re.IGNORECASE), rf"\1{REDACTED}"),
    # Credentials in an address: before the host, or a long value under a name that short ones have as well.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@\"'\\<>?#]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
    (re.compile(r"([?&](?:key|token|sig|signature)=)[^\s&#\"'\\<>]{16,}", re.IGNORECASE), rf"\1{REDACTED}"),
)


class Redactor(SecretValues):
    """Replace known secrets, and what looks like a key; immutable, usable from any thread."""

    def suspects(self, text: str) -> bool:
        """Say quickly whether `text`, perhaps an encoded one, may hold anything to replace."""
        for letter, markers in _MARKERS_BY_LETTER:
            if letter in text:
                for marker in markers:
                    if marker in text:
                        return True
        lowered = text.lower()
        for word in _WORDS:
            if word in lowered:
                return True
        if "api" in lowered and any(marker in lowered for marker in _API_KEY):
            return True
        if "://" in text and any(marker in lowered for marker in _IN_ADDRESS):
            return True
        return super().suspects(text)

    def text(self, text: str) -> str:
        """Return `text` without secrets.

        >>> Redactor(["hunter22"]).text("password hunter22, Authorization: Bearer abc.def")
        'password [redacted], Authorization: [redacted]'
        """
        if not self.suspects(text):
            return text
        text = super().text(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def _is_secret_under(self, name: str) -> bool:
        return ends_in_secret_name(name)


PATTERNS_ONLY = Redactor()
"""Knows no secret, only what keys look like."""
