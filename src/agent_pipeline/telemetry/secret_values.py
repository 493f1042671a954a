"""Secrets that are known by value, found in a text however it quotes them."""

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from agent_pipeline.config.key_guard import SHORTEST_SECRET

REDACTED = "[redacted]"

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
"""What no way of quoting changes: neither JSON nor Python nor an address."""


class SecretValues:
    """Replace known secrets; immutable, usable from any thread.

    They are found as they are, escaped as in JSON or by Python, also more than once (JSON inside JSON), and
    percent-encoded; each character in a way of its own. Not found: what was made of them (hashes, base64).

    Args:
        secrets: those of less than 8 characters are left out: replacing them would garble every line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._traces = tuple({max(_PLAIN.findall(one), key=len, default="") for one in known})
        self._known = re.compile("|".join(map(_in_any_form, known))) if known else None

    def suspects(self, text: str) -> bool:
        """Say quickly whether `text`, perhaps an encoded one, may hold anything to replace."""
        return any(trace in text for trace in self._traces)

    def holds(self, text: str) -> bool:
        """Say whether a secret is in `text`."""
        return self._known is not None and self.suspects(text) and self._known.search(text) is not None

    def text(self, text: str) -> str:
        """Return `text` without secrets.

        >>> SecretValues(['two "words"']).text('two "words" and two%20%22words%22')
        '[redacted] and [redacted]'
        """
        if self._known is None or not self.suspects(text):
            return text
        return self._known.sub(REDACTED, text)

    def value(self, value: object, name: str = "") -> object:
        """Return a JSON value without secrets in its texts, keys and numbers; other values are returned as they are.

        Structure stays: what can be encoded before can be encoded after. `name` is the key the value stands under.
        """
        if isinstance(value, str):
            return REDACTED if value and self._is_secret_under(name) else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = repr(value)
            return REDACTED if self._is_secret_under(name) or self.text(shown) != shown else value
        return value

    def _is_secret_under(self, name: str) -> bool:  # noqa: ARG002 - for those who know more than values
        return False


NO_SECRETS = SecretValues()
"""Finds nothing."""


def _in_any_form(secret: str) -> str:
    return "".join(map(_run_in_any_form, re.findall(r"[A-Za-z0-9._~-]+|\\+|.", secret, re.DOTALL)))


def _run_in_any_form(run: str) -> str:
    """Return the pattern of characters that are never quoted, of backslashes, or of one character that may be."""
    if _PLAIN.fullmatch(run):
        return re.escape(run)
    percent = f"(?i:{quote(run, safe='', errors='surrogatepass')})"
    if run[0] == "\\":
        return rf"(?:\\{{{len(run)},}}|{percent})"
    in_python, as_bytes = run.encode("unicode_escape"), repr(run.encode("utf-8", "surrogatepass"))
    escapes = {json.dumps(run)[1:-1], in_python.decode(), as_bytes[2:-1]} - {run}
    # The longest first: one may be the beginning of another.
    escaped = [f"(?i:{_with_more_backslashes(one)})" for one in sorted(escapes, key=len, reverse=True)]
    forms = [*escaped, percent, rf"\\*{re.escape(run)}", *(["[+]"] if run == " " else [])]
    return f"(?:{'|'.join(forms)})"


def _with_more_backslashes(escape: str) -> str:
    r"""Return the pattern of an escape such as `\u00e9`, quoted again as often as you like."""
    return re.escape(escape).replace(r"\\", r"\\+")
