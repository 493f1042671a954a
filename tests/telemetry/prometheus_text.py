"""Prometheus' text format read back by its own grammar."""

import re

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
_ESCAPED = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


def read_prometheus(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read the text format; every metric has its HELP and TYPE before it, once, and no sample comes twice."""
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    typed: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in typed
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = _SAMPLE.match(line)
            assert match, line
            assert re.sub(r"_(bucket|sum|count)$", "", match["name"]) in typed or match["name"] in typed
            labels = _LABEL.findall(match["labels"] or "")
            assert ",".join(f'{name}="{value}"' for name, value in labels) == (match["labels"] or "")
            plain = frozenset((name, re.sub(r"\\.", lambda one: _ESCAPED[one[0]], value)) for name, value in labels)
            assert (match["name"], plain) not in samples
            samples[match["name"], plain] = float(match["value"])
    return samples
