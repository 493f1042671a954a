"""Foreign text as the page may hold it: without secrets, without characters that fake something, and short."""

import unicodedata

from agent_pipeline.telemetry import Redactor

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Texts:
    """Cleans and cuts what others wrote: ids, errors, verdicts, prompts, files."""

    def __init__(self, clean: Redactor) -> None:
        self._clean = clean

    def line(self, text: str, most: int) -> str:
        r"""Return it as one line of at most `most` characters.

        >>> Texts(Redactor(["hunter22"])).line("a\x1b\u202e b\n\u2028 hunter22", 99)
        'a b [redacted]'
        """
        # Cut before it is cleaned, with room for a secret that spans the cut: an error may be a whole web page.
        shown = " ".join(_printable(self._clean.text(text[: most * 4 + 1000])).split())
        return shown if len(shown) <= most else f"{shown[: most - 1]}…"

    def block(self, text: str, most: int) -> str:
        """Return it with its lines, at most `most` characters; what was cut is counted."""
        kept = self._clean.text(text[: most + 1000])[:most]
        left = len(text) - most
        lines = "\n".join(_printable(line.expandtabs(4)) for line in kept.split("\n"))
        return lines if left <= 0 else f"{lines}…\n({left:,} more characters)"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(char) in _UNSAFE else char for char in text)
