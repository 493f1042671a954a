"""Which documents are out with which worker, what goes out next, and whom the loss of a worker is blamed on."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.domain.usage import NOTHING_SPENT, Spending
from agent_pipeline.engines.messages import Fence, Shard, ShardDocument

LOSSES_OF_A_SHARD = 3
"""Workers that a shard may lose before it is cut in two, to find out which of its documents it is."""

LOSSES_OF_A_DOCUMENT = 2
"""Workers that a document may lose with nothing else in them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a document that was begun has already: what it was charged, what its stages made of it."""

    spent: Spending = NOTHING_SPENT
    results: Mapping[ResultKey, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Lot:
    """Documents that go out together; those that have ended are taken out.

    Attributes:
        attempt: at it, from 1; 0 before it goes out.
        losses: workers lost that it is blamed for.
        is_suspect: it is half of one that lost too many, and goes out alone.
        worker: that has it, or had it last.
    """

    shard: int
    documents: dict[str, ShardDocument]
    attempt: int = 0
    losses: int = 0
    is_suspect: bool = False
    worker: int = 0

    @property
    def fence(self) -> Fence:
        return Fence(self.shard, self.attempt)


class ShardBook:
    """Documents between the source and their ends; each is in one place: waiting, out with one worker, or forgotten.

    A shard that a worker is lost over goes out again with a higher attempt, so that nothing said under the old fence
    counts any more. At its third loss it is cut in two, and the halves are suspect: each goes out to a worker that has
    nothing else, and is cut in two at its next loss. A suspect document that is alone, and loses its worker twice, is
    given up. So nobody is blamed for what happened beside him.

    >>> from agent_pipeline.domain.document import SourceEntry
    >>> book = ShardBook()
    >>> entries = [SourceEntry(1, "a", None), SourceEntry(2, "b", None)]
    >>> [book.enter(entry.id, entry.position) for entry in entries]
    [None, None]
    >>> book.add([ShardDocument(entry) for entry in entries])
    >>> shard = book.deal(worker=1)
    >>> shard.fence, [one.entry.id for one in shard.documents]
    (Fence(shard=1, attempt=1), ['a', 'b'])
    >>> book.end(shard.fence, "a"), book.end(shard.fence, "a")
    (True, False)
    >>> book.lose(1, begun={"b": Kept()})
    []
    >>> book.end(shard.fence, "b")
    False
    >>> shard = book.deal(worker=2)
    >>> shard.fence, [(one.entry.id, one.again) for one in shard.documents]
    (Fence(shard=1, attempt=2), [('b', True)])
    """

    def __init__(self) -> None:
        self._waiting: deque[_Lot] = deque()
        self._out: dict[int, _Lot] = {}
        self._by_worker: dict[int, list[_Lot]] = {}
        self._positions: dict[str, int] = {}
        self._shards = 0

    @property
    def is_empty(self) -> bool:
        """Whether every document that was entered has ended."""
        return not self._positions

    @property
    def waiting(self) -> int:
        """How many shards are with no worker."""
        return len(self._waiting)

    def document(self, fence: Fence, document_id: str) -> ShardDocument | None:
        """Return a document that is out under this fence; None where that counts no more, or it has ended."""
        lot = self._lot(fence)
        return None if lot is None else lot.documents.get(document_id)

    def may_have_more(self, worker: int) -> bool:
        """Tell whether a worker may be given something beside what it has."""
        return not any(lot.is_suspect for lot in self._by_worker.get(worker, ()))

    def documents_of(self, worker: int) -> list[ShardDocument]:
        """Return the documents that are out with a worker."""
        return [one for lot in self._by_worker.get(worker, ()) for one in lot.documents.values()]

    def in_hand(self, worker: int) -> int:
        """Return how many documents are out with a worker."""
        return sum(len(lot.documents) for lot in self._by_worker.get(worker, ()))

    def enter(self, document_id: str, position: int) -> int | None:
        """Keep an id for a document that will be added; where another one has it, return where that one stands."""
        known = self._positions.setdefault(document_id, position)
        return None if known == position else known

    def add(self, documents: Sequence[ShardDocument]) -> None:
        """Let documents that were entered wait as one shard."""
        self._waiting.append(self._new_lot(documents))

    def deal(self, worker: int) -> Shard | None:
        """Hand a worker the next shard it may have; None where there is none for it.

        A suspect goes only to a worker that has no other document, and with it nothing else goes there.
        """
        if not self.may_have_more(worker):
            return None
        mine = self._by_worker.get(worker)
        lot = next((lot for lot in self._waiting if not (lot.is_suspect and mine)), None)
        if lot is None:
            return None
        self._waiting.remove(lot)
        lot.attempt += 1
        lot.worker = worker
        self._out[lot.shard] = lot
        self._by_worker.setdefault(worker, []).append(lot)
        return Shard(lot.fence, tuple(lot.documents.values()))

    def end(self, fence: Fence, document_id: str) -> bool:
        """Take the end of a document, and forget it; False where it counts no more, or it has ended before."""
        lot = self._lot(fence)
        if lot is None or lot.documents.pop(document_id, None) is None:
            return False
        del self._positions[document_id]
        if not lot.documents:
            del self._out[lot.shard]
            mine = self._by_worker[lot.worker]
            mine.remove(lot)
            if not mine:
                del self._by_worker[lot.worker]
        return True

    def lose(self, worker: int, begun: Mapping[str, Kept]) -> list[ShardDocument]:
        """Fence what a lost worker had, and let it wait again, before all else; return documents that are given up.

        Shards of which something was begun are blamed; where nothing was (it may have been begun unheard), all are.

        Args:
            worker: that was lost; it gets nothing any more.
            begun: its documents that were begun and have not ended, with what there is of them.
        """
        given_up: list[ShardDocument] = []
        lots = self._by_worker.pop(worker, [])
        suspected = [lot for lot in lots if not begun.keys().isdisjoint(lot.documents)] or lots
        for lot in reversed(lots):
            del self._out[lot.shard]
            for document_id in lot.documents.keys() & begun.keys():
                kept, known = begun[document_id], lot.documents[document_id]
                lot.documents[document_id] = replace(known, again=True, spent=kept.spent, results=kept.results)
            if lot in suspected:
                lot.losses += 1
            given_up += self._wait_again(lot)
        return given_up

    def _wait_again(self, lot: _Lot) -> list[ShardDocument]:
        documents = list(lot.documents.values())
        if lot.is_suspect and len(documents) == 1 and lot.losses >= LOSSES_OF_A_DOCUMENT:
            del self._positions[documents[0].entry.id]
            return documents
        if lot.losses >= (1 if lot.is_suspect and len(documents) > 1 else LOSSES_OF_A_SHARD):
            middle = (len(documents) + 1) // 2
            halves = [self._new_lot(half) for half in (documents[:middle], documents[middle:]) if half]
            for half in reversed(halves):
                half.is_suspect = True
                self._waiting.appendleft(half)
        else:
            self._waiting.appendleft(lot)
        return []

    def _new_lot(self, documents: Iterable[ShardDocument]) -> _Lot:
        self._shards += 1
        return _Lot(self._shards, {one.entry.id: one for one in documents})

    def _lot(self, fence: Fence) -> _Lot | None:
        lot = self._out.get(fence.shard)
        return lot if lot is not None and lot.attempt == fence.attempt else None
