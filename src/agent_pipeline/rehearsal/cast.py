"""Who takes part in a rehearsal: the source's own documents, and stand-ins for all beyond those that are worked on."""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from agent_pipeline.documents import Source
from agent_pipeline.domain.document import Document, SourceEntry

MOST_ORIGINALS = 500
"""Documents whose stages really run. One that asks four times through the Agents SDK takes some 40 ms of CPU."""

MOST_ORIGINAL_CHARACTERS = 16 * 1024 * 1024
"""Characters of their texts together: what they ask for is kept in memory, several times over."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The documents of a rehearsal.

    Attributes:
        originals: entries of the source whose stages run; unusable and skipped ones among them.
        stand_ins: id of each of the others, and the document whose requests it sends; in the order they come in.
        repeats: how many of those are no documents of the source, but copies of some.
        left: whether the source has more documents than take part.
    """

    originals: tuple[SourceEntry, ...]
    stand_ins: dict[str, str]
    repeats: int
    left: bool

    @property
    def size(self) -> int:
        """Documents that are not skipped."""
        return sum(entry.skipped is None for entry in self.originals) + len(self.stand_ins)

    def without_repeats(self) -> "Cast":
        """Return it with the documents of the source alone."""
        own = dict(list(self.stand_ins.items())[: len(self.stand_ins) - self.repeats])
        return replace(self, stand_ins=own, repeats=0)

    def source(self) -> Source:
        """Return all of them as a source."""
        return Source(self._entries, limit=None, count_hint=len(self.originals) + len(self.stand_ins), threaded=False)

    def originals_alone(self) -> Source:
        """Return those only whose requests are sent by others."""
        return Source(lambda: iter(self.originals), limit=None, count_hint=len(self.originals), threaded=False)

    def _entries(self) -> Iterator[SourceEntry]:
        yield from self.originals
        first = 1 + max((entry.position for entry in self.originals), default=0)
        for position, (name, original) in enumerate(self.stand_ins.items(), first):
            text = f"It stands in for document {original}."
            yield SourceEntry(position, name, None, document=Document(name, text))


async def choose_cast(source: Source, documents: int) -> Cast:
    """Read as far into the source as so many documents need; those beyond its end are repeated under new ids.

    Args:
        source: of the pipeline.
        documents: how many are wanted, skipped ones not counted.

    Raises:
        InputError: reading broke off.
    """
    originals: list[SourceEntry] = []
    others: list[tuple[str, int]] = []
    characters, left = 0, False
    async with aclosing(source.entries()) as entries:
        async for entry in entries:
            wanted = sum(one.skipped is None for one in originals) + len(others) < documents
            if not wanted:
                left = left or entry.skipped is None
                break
            size = 0 if entry.document is None else len(entry.document.text)
            is_over = len(originals) >= MOST_ORIGINALS or characters + size > MOST_ORIGINAL_CHARACTERS
            if originals and is_over:
                others += [] if entry.skipped is not None else [(entry.id, size)]
                continue
            characters += size
            originals.append(entry)
    usable = [entry.document for entry in originals if entry.document is not None]
    stand_ins = _nearest(usable, others)
    missing = documents - len(stand_ins) - sum(entry.skipped is None for entry in originals)
    repeats = _repeats(usable, {entry.id for entry in originals} | stand_ins.keys(), missing)
    return Cast(tuple(originals), stand_ins | repeats, len(repeats), left)


def _nearest(usable: list[Document], others: list[tuple[str, int]]) -> dict[str, str]:
    """Return for each document the one that is nearest to it in size."""
    by_size = sorted((len(document.text), document.id) for document in usable)
    chosen: dict[str, str] = {}
    for name, size in others:
        place = bisect_left(by_size, (size, ""))
        around = by_size[max(0, place - 1) : place + 1]
        if around:
            chosen[name] = min(around, key=lambda one: abs(one[0] - size))[1]
    return chosen


def _repeats(usable: list[Document], taken: set[str], missing: int) -> dict[str, str]:
    """Return new ids, and whose requests go under them, in turns."""
    repeats: dict[str, str] = {}
    turn = 1
    while usable and len(repeats) < missing:
        turn += 1
        for document in usable[: missing - len(repeats)]:
            name = f"{document.id}~{turn}"
            while name in taken:
                name += "~"
            repeats[name] = document.id
    return repeats
