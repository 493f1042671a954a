"""How large documents are, added up in memory that does not grow with their number."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent_pipeline.domain.document import Document

_STEPS = 16
"""Sizes are kept in steps of a sixteenth of a doubling, each rounded up: a bound is at most 5 % above the exact one."""


@dataclass(frozen=True, slots=True)
class Size:
    """One document's size.

    Attributes:
        text_bytes: of its text, as UTF-8.
        body_bytes: of its text and source in the body of a request, where JSON escapes some of it.
    """

    text_bytes: int
    body_bytes: int


def size_of(document: Document) -> Size:
    """Measure a document."""
    escaped = json.dumps([document.text, document.source], ensure_ascii=False)
    return Size(len(document.text.encode("utf-8", "replace")), len(escaped.encode("utf-8", "replace")))


@dataclass(slots=True)
class Sizes:
    """The sizes of many documents.

    Attributes:
        count: of documents.
        text_bytes: of all texts together.
    """

    count: int = 0
    text_bytes: int = 0
    _steps: Counter[int] = field(default_factory=Counter)

    def add(self, size: Size) -> None:
        """Add a document."""
        self.count += 1
        self.text_bytes += size.text_bytes
        self._steps[math.ceil(_STEPS * math.log2(max(size.body_bytes, 1)))] += 1

    def bodies(self) -> Iterator[tuple[int, int]]:
        """Yield sizes in a request's body that are not below the true ones, and how many documents have each."""
        for step, count in self._steps.items():
            yield math.ceil(2 ** (step / _STEPS)), count
