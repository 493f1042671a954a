"""Parquet: each column of one type, found out by reading all rows once before the first is written."""

import json
from itertools import chain
from typing import BinaryIO

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.runs.results.rows import COLUMNS, TEXT, Row, Rows

ROWS_AT_ONCE = 1000
CHARACTERS_AT_ONCE = 4 * 1024 * 1024
"""A group is written when it holds so many rows, or so much text."""

_TYPES: dict[type, str] = {str: "string", int: "int64", float: "double", bool: "bool"}
"""Types of values, and pyarrow's names for them."""

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def write_parquet(rows: Rows, file: BinaryIO) -> int:
    """Write all rows; return how many. A field is text, unless all of its values are of one plain type."""
    import pyarrow as pa  # noqa: PLC0415 - an extra, and a third of a second
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    kinds = _kinds(rows)
    schema = pa.schema([(name, pa.type_for_alias(_TYPES[kind])) for name, kind in kinds.items()])
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        group: list[Row] = []
        characters = 0
        for row in chain(rows, (None,)):
            if row is not None:
                group.append(row)
                characters += sum(len(value) for value in row.values() if isinstance(value, str))
            if group and (row is None or len(group) >= ROWS_AT_ONCE or characters >= CHARACTERS_AT_ONCE):
                columns = {name: [_value(one.get(name), kind) for one in group] for name, kind in kinds.items()}
                writer.write_table(pa.table(columns, schema=schema))
                count, characters = count + len(group), 0
                group.clear()
    return count


def _kinds(rows: Rows) -> dict[str, type]:
    fixed = {**COLUMNS, TEXT: str}
    kinds: dict[str, type | None] = {name: fixed[name] for name in rows.columns}
    for row in rows:
        for name, value in row.items():
            if name not in fixed:
                kinds[name] = _joined(kinds.get(name), value)
    return {name: kind or str for name, kind in kinds.items()}


def _joined(known: type | None, value: JsonValue) -> type | None:
    """Return the type that holds this value too; None as long as there was none."""
    if value is None:
        return known
    kind = type(value) if type(value) in _TYPES else str
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        kind = str
    if known is None or known is kind:
        return kind
    return float if {known, kind} == {int, float} else str


def _value(value: JsonValue, kind: type) -> JsonValue:
    if value is None or kind in {int, bool}:
        return value
    if kind is float:
        return float(value) if isinstance(value, int | float) else None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
