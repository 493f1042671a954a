"""The book of shards: nothing in two places, nobody blamed for what happened beside him."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.domain.usage import Spending
from agent_pipeline.engines.driver.shards import Kept, ShardBook
from agent_pipeline.engines.messages import Fence, Shard, ShardDocument


def filled(*ids: str) -> ShardBook:
    """Return a book in which these documents wait as one shard."""
    book = ShardBook()
    add(book, *ids)
    return book


def add(book: ShardBook, *ids: str) -> None:
    """Let further documents wait."""
    documents = [ShardDocument(SourceEntry(position, one, None)) for position, one in enumerate(ids, 1)]
    assert [book.enter(one.entry.id, one.entry.position) for one in documents] == [None] * len(ids)
    book.add(documents)


def dealt(book: ShardBook, worker: int) -> tuple[Fence, list[str]]:
    """Hand the next shard to a worker, and return what it is."""
    shard = book.deal(worker)
    assert shard is not None
    return shard.fence, ids_of(shard)


def ids_of(shard: Shard) -> list[str]:
    """Return the ids of a shard's documents."""
    return [one.entry.id for one in shard.documents]


def begun(*ids: str) -> dict[str, Kept]:
    """Return documents that were begun, with nothing to show for it."""
    return {one: Kept() for one in ids}


def test_shards_go_out_in_the_order_of_the_source() -> None:
    """One to each who asks, until there are no more."""
    book = filled("a", "b")
    add(book, "c")

    assert dealt(book, 1) == (Fence(1, 1), ["a", "b"])
    assert dealt(book, 2) == (Fence(2, 1), ["c"])
    assert book.deal(1) is None


def test_a_document_ends_once_and_only_under_its_fence() -> None:
    """Whoever says it again, or under another attempt, changes nothing."""
    book = filled("a")
    fence, _ = dealt(book, 1)

    assert not book.end(Fence(1, 2), "a")
    assert not book.end(Fence(7, 1), "a")
    assert not book.end(fence, "b")
    assert book.end(fence, "a")
    assert not book.end(fence, "a")
    assert book.is_empty


def test_an_id_is_kept_until_its_document_has_ended() -> None:
    """The position tells which one has it."""
    book = filled("a", "b")
    fence, _ = dealt(book, 1)

    assert book.enter("b", 9) == 2
    book.end(fence, "b")
    assert book.enter("b", 9) is None


def test_what_a_lost_worker_had_goes_out_first_under_a_new_fence() -> None:
    """Without what has ended, and with what there is of what was begun."""
    book = filled("a", "b", "c")
    add(book, "d")
    fence, _ = dealt(book, 1)
    book.end(fence, "a")
    kept = Kept(Spending(5, 1, 2), {ResultKey("first", 1, "0"): "{}"})

    assert book.lose(1, {"b": kept}) == []

    assert book.document(fence, "b") is None
    shard = book.deal(2)
    assert shard == Shard(
        Fence(1, 2),
        (
            ShardDocument(SourceEntry(2, "b", None), again=True, spent=kept.spent, results=kept.results),
            ShardDocument(SourceEntry(3, "c", None)),
        ),
    )


def test_several_shards_of_a_lost_worker_keep_their_order() -> None:
    """The source's order is what a reader of the log expects."""
    book = filled("a")
    add(book, "b")
    for _ in range(2):
        dealt(book, 1)

    book.lose(1, begun("a"))

    assert [dealt(book, 2)[1], dealt(book, 2)[1]] == [["a"], ["b"]]


def test_a_shard_that_lost_three_workers_is_cut_in_two() -> None:
    """Its halves are suspect: each goes to a worker that has nothing else."""
    book = filled(*"abcd")
    add(book, "e")
    add(book, "f")
    for worker in (1, 2, 3):
        assert dealt(book, worker) == (Fence(1, worker), [*"abcd"])
        book.lose(worker, begun(*"abcd"))

    assert dealt(book, 4) == (Fence(4, 1), ["a", "b"])
    assert not book.may_have_more(4)
    assert book.deal(4) is None
    assert dealt(book, 5) == (Fence(5, 1), ["c", "d"])
    assert dealt(book, 6) == (Fence(2, 1), ["e"])


def test_a_suspect_does_not_go_where_something_else_is() -> None:
    """Who has work gets what is no suspect instead; when it is idle, it may have one."""
    book = filled("a", "b")
    add(book, "c")
    dealt(book, 9)
    add(book, "d")
    assert dealt(book, 1) == (Fence(2, 1), ["c"])
    book.lose(9, begun("a"))
    for worker in (7, 8):
        dealt(book, worker)
        book.lose(worker, begun("a"))

    assert dealt(book, 1) == (Fence(3, 1), ["d"])
    assert book.deal(1) is None
    book.end(Fence(2, 1), "c")
    book.end(Fence(3, 1), "d")
    assert dealt(book, 1) == (Fence(4, 1), ["a"])


def test_a_suspect_is_cut_at_its_next_loss_and_given_up_alone_after_two() -> None:
    """Ten losses at most for a shard of 32: three, then one for each halving, then two."""
    book = filled(*"abcdefgh")
    lost_for: list[list[str]] = []
    given_up: list[str] = []
    worker = 0
    while not book.is_empty:
        worker += 1
        fence, ids = dealt(book, worker)
        if "f" in ids:
            lost_for.append(ids)
            given_up += [one.entry.id for one in book.lose(worker, begun(*ids))]
        else:
            assert all(book.end(fence, one) for one in ids)

    assert lost_for == [[*"abcdefgh"]] * 3 + [[*"efgh"], [*"ef"], ["f"], ["f"]]
    assert given_up == ["f"]


def test_shards_of_which_nothing_was_begun_are_not_blamed_beside_one_that_was() -> None:
    """They were only ahead: three losses later they are no suspects."""
    book = filled("a")
    add(book, "b")
    for worker in (1, 2, 3):
        dealt(book, worker)
        assert dealt(book, worker) == (Fence(2, worker), ["b"])
        book.lose(worker, begun("a"))

    assert dealt(book, 4) == (Fence(3, 1), ["a"])
    assert dealt(book, 5) == (Fence(2, 4), ["b"])
    assert (book.may_have_more(4), book.may_have_more(5)) == (False, True)


def test_where_nothing_was_begun_all_are_blamed() -> None:
    """It may have been begun unheard: nobody to blame would be a worker lost for ever."""
    book = filled("a")
    given_up: list[ShardDocument] = []
    worker = 0
    while not given_up:
        worker += 1
        dealt(book, worker)
        given_up = book.lose(worker, {})

    assert worker == 5


class Play:
    """A book and its workers, in four places; what each has, and how often a document ended, is counted here again."""

    def __init__(self, sizes: list[int], poison: set[int]) -> None:
        self.book = ShardBook()
        self.ends: Counter[str] = Counter()
        self._poison = poison
        self._workers = [*range(4)]
        self._out: list[list[tuple[Fence, str]]] = [[], [], [], []]
        self.total = 0
        for size in sizes:
            add(self.book, *(str(self.total + number) for number in range(size)))
            self.total += size

    def do(self, what: str, place: int, which: int) -> None:
        """Hand out, end or lose."""
        if what == "deal":
            shard = self.book.deal(self._workers[place])
            self._out[place] += [] if shard is None else [(shard.fence, one) for one in ids_of(shard)]
        elif what == "lose":
            self._lose(place)
        elif mine := self._out[place]:
            fence, document_id = mine.pop(which % len(mine))
            assert self.book.end(fence, document_id)
            self.ends[document_id] += 1

    def finish(self) -> None:
        """Go on until all is done; poison loses its worker every time."""
        while not self.book.is_empty:
            for place, mine in enumerate(self._out):
                self.do("deal", place, 0)
                if any(int(one) in self._poison for _, one in mine):
                    self._lose(place)
                while mine:
                    self.do("end", place, 0)

    def _lose(self, place: int) -> None:
        mine = self._out[place]
        known = begun(*(one for _, one in mine if int(one) in self._poison))
        for one in self.book.lose(self._workers[place], known):
            self.ends[one.entry.id] += 1
        assert not any(self.book.end(fence, document_id) for fence, document_id in mine)
        mine.clear()
        self._workers[place] += 4


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    steps=st.lists(
        st.tuples(st.sampled_from(["deal", "end", "lose"]), st.integers(0, 3), st.integers(0, 9)), max_size=80
    ),
    poison=st.sets(st.integers(0, 29), max_size=2),
)
def test_whatever_happens_each_document_ends_exactly_once(
    sizes: list[int], steps: list[tuple[str, int, int]], poison: set[int]
) -> None:
    """Under any interleaving of handing out, ends and losses, then until all is done."""
    play = Play(sizes, poison)

    for step in steps:
        play.do(*step)
    play.finish()

    assert play.ends == Counter(str(number) for number in range(play.total))
