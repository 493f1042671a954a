"""Records from several sources are brought together by key, and no room for them is an error of ours."""

import sqlite3

import pytest

from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger.joining import open_joining


def test_records_come_back_by_key_in_the_order_they_were_added() -> None:
    with open_joining() as joining:
        for number in range(5000):  # more than are kept back
            joining.add("attempts", f"d{number % 3}", [number])
        joining.add("traces", "d0", ["another topic"])

        groups = {key: [record[0] for record in records] for key, records in joining.groups("attempts")}

    assert list(groups) == ["d0", "d1", "d2"]
    assert groups["d1"] == list(range(1, 5000, 3))


def test_a_temporary_file_without_room_names_the_way_out() -> None:
    """A full disk under /tmp is not a damaged run."""
    with pytest.raises(LedgerError, match="SQLITE_TMPDIR") as caught, open_joining():
        raise sqlite3.OperationalError("database or disk is full")

    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
