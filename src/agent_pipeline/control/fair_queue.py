"""Who is next: documents in turn, and within a document first come, first served."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class FairQueue(Generic[ItemT]):
    """Waiting items by document; every operation takes the same time however many wait.

    A document that asks for hundreds of requests at once gets one place in turn with the others, not hundreds. What
    belongs to no document takes its turn like one.
    """

    def __init__(self) -> None:
        self._documents: OrderedDict[str | None, OrderedDict[ItemT, None]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ItemT]:
        """Go through all that wait, document by document; the queue must not change meanwhile."""
        for items in self._documents.values():
            yield from items

    def add(self, document_id: str | None, item: ItemT) -> None:
        """Put an item behind those of its document."""
        self._documents.setdefault(document_id, OrderedDict())[item] = None
        self._count += 1

    def add_first(self, document_id: str | None, item: ItemT) -> None:
        """Put an item before all others: it had its turn already and could not use it."""
        self.add(document_id, item)
        self._documents[document_id].move_to_end(item, last=False)
        self._documents.move_to_end(document_id, last=False)

    def first(self) -> ItemT:
        """Return who is next, and leave it there; the queue must not be empty."""
        return next(iter(next(iter(self._documents.values()))))

    def pop(self) -> ItemT:
        """Take out who is next; its document's turn comes again after those of all others."""
        document_id, items = next(iter(self._documents.items()))
        item, _ = items.popitem(last=False)
        self._count -= 1
        if items:
            self._documents.move_to_end(document_id)
        else:
            del self._documents[document_id]
        return item

    def remove(self, document_id: str | None, item: ItemT) -> None:
        """Take out an item wherever it waits; nobody's turn changes."""
        items = self._documents[document_id]
        del items[item]
        self._count -= 1
        if not items:
            del self._documents[document_id]
