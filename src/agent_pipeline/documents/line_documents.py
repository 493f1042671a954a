"""Documents in files that are read line by line: JSON Lines and CSV, in memory that does not grow with their length."""

import csv
import json
from collections import Counter
from collections.abc import Iterator

from agent_pipeline.documents.entries import MAX_DOCUMENT_BYTES, TEXT_KEYS, Place, invalid, listed, listed_entry
from agent_pipeline.documents.files import BOM, ReadLine
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import InputError

MAX_LINE_BYTES = 3 * MAX_DOCUMENT_BYTES + 2 * 1024 * 1024
"""Room for the largest document with every letter written as an escape, and for its metadata."""


_decode = json.JSONDecoder().decode

_SKIPPED_BYTES = 64 * 1024
"""Of a line that is too long so much is looked at together."""


def read_json_lines(readline: ReadLine, name: str, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[SourceEntry]:
    """Yield the entries of JSON Lines; empty lines don't count, a bad line is an entry with an error."""
    position = 0
    for number, line in _numbered_lines(readline, max_line_bytes):
        if line is not None and not line.strip():
            continue
        position += 1
        place = Place(position, f"{name}:{number}")
        if line is None:
            yield invalid(place, f"the line has more than {max_line_bytes} bytes")
        else:
            yield _json_line(place, line)


def _json_line(place: Place, line: bytes) -> SourceEntry:
    try:
        value = _decode(line.decode("utf-8").removeprefix(BOM))
    except UnicodeDecodeError as exc:
        return invalid(place, f"not UTF-8 text (byte {exc.start} of the line)")
    except json.JSONDecodeError as exc:
        return invalid(place, f"not JSON: {exc.msg} (column {exc.colno})")
    except RecursionError:
        return invalid(place, "nested too deeply")
    except ValueError as exc:  # a number with more digits than Python converts
        return invalid(place, f"not usable JSON: {exc}")
    return listed_entry(place, value)


def read_csv(readline: ReadLine, name: str, max_row_bytes: int = MAX_LINE_BYTES) -> Iterator[SourceEntry]:
    """Yield the entries of CSV with a header row; fields may span lines, a bad row is an entry with an error.

    Raises:
        InputError: there is no header, or it has no text column, or a name twice.
    """
    # The csv module's limit belongs to the whole interpreter: raised where it is too low, never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), max_row_bytes))
    lines = _RowLines(readline, max_row_bytes)
    rows = csv.reader(lines, strict=True)
    header = _csv_header(rows, lines, name)
    position = 0
    while True:
        lines.begin_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, _RowTooLargeError) as exc:
            position += 1
            yield invalid(Place(position, f"{name}:{lines.row_number}"), f"not a CSV row: {exc}")
            continue
        if row:
            position += 1
            yield _csv_row(Place(position, f"{name}:{lines.row_number}"), header, row)


def _csv_header(rows: Iterator[list[str]], lines: "_RowLines", name: str) -> list[str]:
    header: list[str] = []
    try:
        while not header:
            lines.begin_row()
            header = [column.strip() for column in next(rows)]
    except StopIteration:
        raise InputError(f"{name}: the source is empty") from None
    except (csv.Error, _RowTooLargeError) as exc:
        raise InputError(f"{name}:{lines.row_number}: no CSV header: {exc}") from exc
    repeated = [column for column, times in Counter(header).items() if times > 1]
    if repeated:
        raise InputError(f"{name}:{lines.row_number}: the header names a column twice: {listed(repeated)}")
    if not set(TEXT_KEYS) & set(header):
        raise InputError(
            f"{name}:{lines.row_number}: no column {', '.join(TEXT_KEYS)} in the header ({listed(header)}); "
            "fields are separated by commas and the first row names them"
        )
    return header


def _csv_row(place: Place, header: list[str], row: list[str]) -> SourceEntry:
    if len(row) != len(header):
        return invalid(place, f"the row has {len(row)} fields, the header {len(header)}")
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return invalid(place, "not UTF-8 text")
    value: dict[str, object] = dict(zip(header, row, strict=True))
    if value.get("id") == "":
        del value["id"]
    return listed_entry(place, value)


class _RowTooLargeError(Exception):
    """A CSV row has more bytes than any document may have."""


class _RowLines:
    """Feeds lines to the csv module, which asks for as many as a row has, and keeps a row from taking all memory.

    Attributes:
        row_number: the line the current row begins in.
    """

    def __init__(self, readline: ReadLine, max_row_bytes: int) -> None:
        self.row_number = 0
        self._lines = _numbered_lines(readline, max_row_bytes)
        self._max_row_bytes = max_row_bytes
        self._row_bytes = 0
        self._row_quotes = 0
        self._is_new_row = True

    def begin_row(self) -> None:
        """Say that the next line begins a row."""
        self._is_new_row = True

    def __iter__(self) -> "_RowLines":
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if self._is_new_row:
            self.row_number, self._row_bytes, self._row_quotes, self._is_new_row = number, 0, 0, False
        if line is not None:
            self._row_bytes += len(line)
            self._row_quotes += line.count(b'"')
        if line is None or self._row_bytes > self._max_row_bytes:
            self._skip_rest_of_row()
            raise _RowTooLargeError(f"more than {self._max_row_bytes} bytes (is a quote missing?)")
        # Bytes that are not UTF-8 become lone surrogates, so that they spoil their own row only.
        text = line.decode("utf-8", "surrogateescape")
        return text.removeprefix(BOM) if number == 1 else text

    def _skip_rest_of_row(self) -> None:
        # Inside a quoted field the quotes so far are odd in number; the row may end where they are even again.
        while self._row_quotes % 2:
            _, line = next(self._lines, (0, b'"'))
            self._row_quotes += 0 if line is None else line.count(b'"')


def _numbered_lines(readline: ReadLine, max_line_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield number (from 1) and bytes of each line; None for one that is too long, which is skipped unread."""
    number = 0
    while line := readline(max_line_bytes + 1):
        number += 1
        if len(line) <= max_line_bytes:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = readline(_SKIPPED_BYTES)
        yield number, None
