"""The formats of a table, and how one gets its name: complete, or not at all."""

import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import InputError, ResultsError
from agent_pipeline.runs.results.parquet import write_parquet
from agent_pipeline.runs.results.rows import Rows, open_rows

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula, which may run programs and send data."""

PARQUET_EXTRA = "install agent-pipeline[parquet] from where you have agent-pipeline (docs/optional-dependencies.md)"


def write_results(ledger: Path, target: Path, *, with_text: bool = False) -> int:
    """Write one row for each document of a run that ended; return how many.

    What is there under this name is replaced in one step, once all rows are on disk; until then, and on any error, it
    is as it was. Needs memory for some rows, however many there are.

    Args:
        ledger: of the run.
        target: the file; its suffix is the format.
        with_text: a column with what each document's text was last.

    Raises:
        InputError: there is no such format, or what it needs is not installed.
        ResultsError: the file can't be written.
        LedgerError: the ledger can't be read.
    """
    write = check_format(target)
    with open_rows(ledger, with_text=with_text) as rows, _replacing(target) as file:
        return write(rows, file)


def check_format(target: Path) -> Callable[[Rows, BinaryIO], int]:
    """Return what writes the format of a file's suffix.

    Raises:
        InputError: there is no such format, or what it needs is not installed.
    """
    suffix = target.suffix.lower()
    write = _FORMATS.get(suffix)
    if write is None:
        raise InputError(f"{target}: results are written as {', '.join(_FORMATS)}; {suffix or 'no suffix'} is none")
    if write is write_parquet and find_spec("pyarrow") is None:
        raise InputError(f"{target}: to write Parquet, {PARQUET_EXTRA}")
    return write


def _write_json_lines(rows: Rows, file: BinaryIO) -> int:
    count = 0
    for row in rows:
        count += 1
        file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
    return count


def _write_csv(rows: Rows, file: BinaryIO) -> int:
    """Write CSV: fields by their names, in the order they are first met in; values that are no texts as JSON."""
    names = dict.fromkeys(rows.columns)
    for row in rows:
        names.update(dict.fromkeys(row))
    with _text_of(file) as text:
        writer = csv.DictWriter(text, names, restval="")
        writer.writerow({name: _cell(name) for name in names})
        count = 0
        for row in rows:
            count += 1
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return count


def _cell(value: JsonValue) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)
    return f"'{value}" if value.startswith(_FORMULA) else value


_FORMATS: dict[str, Callable[[Rows, BinaryIO], int]] = {
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
    ".csv": _write_csv,
    ".parquet": write_parquet,
}


@contextmanager
def _text_of(file: BinaryIO) -> Generator[io.TextIOWrapper]:
    """Write text into an open file, which stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    yield text
    text.detach()


@contextmanager
def _replacing(target: Path) -> Generator[BinaryIO]:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as exc:
        raise ResultsError(f"{target}: the results can't be written: {exc.strerror or exc}") from exc
