"""Which workers a run has, of those it may have: who is there to be given documents, who is only coming."""


class Staff:
    """Counts places for workers: one is taken when its worker is wanted, and whoever follows a lost one keeps it.

    Args:
        places: workers at once, at most.
        concurrency: documents in flight in each.

    >>> staff = Staff(places=3, concurrency=10)
    >>> staff.hire(2), staff.coming, staff.hire(2), staff.has_place
    (2, 2, 1, False)
    >>> staff.hire(-1), staff.coming  # more are coming than are wanted by now
    (0, 3)
    >>> staff.come(1)
    >>> staff.coming
    2
    >>> staff.lose(1)
    >>> staff.coming
    3
    """

    def __init__(self, places: int, concurrency: int) -> None:
        self.places = places
        self.concurrency = concurrency
        self._taken = 0
        self._there: set[int] = set()

    @property
    def has_place(self) -> bool:
        """Whether there may be one more."""
        return self._taken < self.places

    @property
    def coming(self) -> int:
        """How many will ask for their first documents, among them those in the place of lost ones."""
        return self._taken - len(self._there)

    def hire(self, wanted: int) -> int:
        """Take as many places as are wanted and free; return how many."""
        hired = max(0, min(wanted, self.places - self._taken))
        self._taken += hired
        return hired

    def come(self, number: int) -> None:
        """Know that a worker has asked for documents."""
        self._there.add(number)

    def lose(self, number: int) -> None:
        """Know that a worker asks for no more: another one is coming."""
        self._there.discard(number)
