"""Secrets out of texts: known values and what looks like a key become `[redacted]`."""

import re
from collections.abc import Iterable

from agent_pipeline.config.key_guard import BEARER_TOKEN, KEY_MARKERS, KNOWN_KEY, ends_in_secret_name
from agent_pipeline.config.marker_search import MarkerSearch
from agent_pipeline.telemetry.secret_values import REDACTED, SecretValues

_WORDS = ("auth", "bearer", "secret", "passw", "access", "private", "api_key", "api-key", "apikey")
_IN_ADDRESS = MarkerSearch(["@", "key=", "token=", "sig=", "signature="])
"""A text with none of the words, of these after a `://`, and of the `KEY_MARKERS` matches no pattern below."""

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

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__(secrets)
        self._markers = MarkerSearch([*KEY_MARKERS, *_WORDS, *self._traces])

    def suspects(self, text: str) -> bool:
        """Say quickly whether `text`, perhaps an encoded one, may hold anything to replace."""
        return self._markers.finds(text) or ("://" in text and _IN_ADDRESS.finds(text))

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
