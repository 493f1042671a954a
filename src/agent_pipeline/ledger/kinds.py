"""What a row may hold: SQLite keeps whatever it is given, and a damaged file holds anything."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, get_args

from agent_pipeline.domain.document import Outcome
from agent_pipeline.domain.result import RunOutcome
from agent_pipeline.domain.usage import AttemptOutcome
from agent_pipeline.ledger.schema import declared_types

_NOTHING = type(None)
_BY_TYPE = {
    "TEXT": frozenset({str, _NOTHING}),
    "INTEGER": frozenset({int, _NOTHING}),
    "REAL": frozenset({float, int, _NOTHING}),
}
_COMPUTED = frozenset({str, int, float, _NOTHING})
"""What an expression may come to; nothing in a ledger is a blob."""

_OUTCOMES = frozenset({*get_args(Outcome), *get_args(RunOutcome), *get_args(AttemptOutcome), None})


def checked_rows(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """Read the rows of a query, each value of the kind that its column is declared with.

    Raises:
        ValueError: one is of another kind.
        sqlite3.Error: SQLite can't read on.
    """
    types = declared_types()
    names = [str(described[0]) for described in cursor.description]
    kinds = [_BY_TYPE[types[name]] if name in types else _COMPUTED for name in names]
    outcome = names.index("outcome") if "outcome" in names else None
    for row in cursor:
        for name, value, kind in zip(names, row, kinds, strict=True):
            if type(value) not in kind:
                message = f"{name} holds a value of the wrong kind ({type(value).__name__})"
                raise ValueError(message)
        if outcome is not None and row[outcome] not in _OUTCOMES:
            message = f"outcome is {row[outcome]!r}, which is none"
            raise ValueError(message)
        yield row


def check_options(options_json: str) -> None:
    """Make sure that the options of a run are an object.

    Raises:
        ValueError: they are not.
    """
    try:
        is_object = isinstance(json.loads(options_json), dict)
    except RecursionError:
        is_object = False
    if not is_object:
        message = "options_json holds no JSON object"
        raise ValueError(message)
