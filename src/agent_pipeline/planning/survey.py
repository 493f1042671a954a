"""The source read once, before a run: how many documents, how large, which can't be used, which would clash."""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from agent_pipeline.documents import Source
from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.planning.history import History
from agent_pipeline.planning.sizes import Size, Sizes, size_of

MOST_SECONDS = 30.0
"""Real time after which no more of a source is read."""

MOST_NAMES = 1_000_000
"""Ids and names that are kept to find two that are the same, 8 bytes of hash each."""

SHOWN = 5


@dataclass(slots=True)
class Found:
    """Documents of which something is to be told: how many, and the ids of the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, document_id: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(document_id)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A size of text beyond which something goes wrong, in words that come after the number of documents."""

    text_bytes: int
    what: str


@dataclass(slots=True)
class Survey:
    """What was found.

    Attributes:
        is_complete: False where reading took too long; then there are more documents than these.
        kept: documents that an earlier session finished, and nobody works on again.
        sizes: of those that need work.
        by_stage: of those that need each stage; fewer where its result is kept.
        reused: results of stages that are kept.
        same_id: ids that more than one document has: a run ends at the second.
        same_name: documents whose artifact would have the name of another's, where no stage names it; the later one
            gets its id into its name.
        over: documents beyond each threshold.
    """

    is_complete: bool = True
    kept: int = 0
    skipped: int = 0
    invalid: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    by_stage: list[Sizes] = field(default_factory=list)
    reused: int = 0
    same_id: Found = field(default_factory=Found)
    same_name: Found = field(default_factory=Found)
    over: list[tuple[Threshold, Found]] = field(default_factory=list)


StagesKept = Callable[[SourceEntry], frozenset[int] | None]
"""Says which stages, by number, an entry needs no more; None where it needs no work at all."""


@dataclass(slots=True)
class Surveyor:
    """Reads a source.

    Args:
        stages: how many there are.
        thresholds: to look for.
        history: learns the sizes of documents that were in it; None without one.
        remaining: of a run that is gone on with.
        name_of: the name an artifact would have, where no stage gives it one; None where one does.
    """

    stages: int
    thresholds: Sequence[Threshold]
    history: History | None
    remaining: StagesKept
    name_of: Callable[[Document], str] | None
    survey: Survey = field(default_factory=Survey)
    _ids: set[bytes] = field(default_factory=set)
    _names: set[bytes] = field(default_factory=set)

    async def read(self, source: Source) -> Survey:
        """Read all of it, or as much as `MOST_SECONDS` allow.

        Raises:
            InputError: reading broke off.
        """
        survey = self.survey
        survey.by_stage = [Sizes() for _ in range(self.stages)]
        survey.over = [(threshold, Found()) for threshold in self.thresholds]
        until = time.monotonic() + MOST_SECONDS
        async with aclosing(source.entries()) as entries:
            async for entry in entries:
                self._take(entry)
                if time.monotonic() > until:
                    survey.is_complete = await anext(entries, None) is None
                    break
        if self.history is not None:
            self.history.settle()
        return survey

    def _take(self, entry: SourceEntry) -> None:
        survey = self.survey
        if entry.skipped is not None:
            survey.skipped += 1
            return
        if _is_again(entry.id, self._ids):
            survey.same_id.add(entry.id)
        if entry.document is None:
            survey.invalid += 1
            return
        document = entry.document
        size = size_of(document)
        self._learn(document, size)
        if self.name_of is not None and _is_again(self.name_of(document), self._names):
            survey.same_name.add(entry.id)
        done = self.remaining(entry)
        if done is None:
            survey.kept += 1
            return
        survey.sizes.add(size)
        survey.reused += len(done)
        for index, sizes in enumerate(survey.by_stage):
            if index not in done:
                sizes.add(size)
        for threshold, found in survey.over:
            if size.text_bytes > threshold.text_bytes:
                found.add(entry.id)

    def _learn(self, document: Document, size: Size) -> None:
        history = self.history
        if history is not None and document.id in history.documents:
            try:
                digest = document.sha256()
            except (TypeError, ValueError, RecursionError):
                return
            if digest == history.documents[document.id]:
                history.learn(document.id, size.text_bytes)


def _is_again(name: str, seen: set[bytes]) -> bool:
    """Tell whether a name was seen before; remember it, as long as there is room."""
    mark = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    if mark in seen:
        return True
    if len(seen) < MOST_NAMES:
        seen.add(mark)
    return False
