"""What a row says, read from the ledger as it goes: the document, its ending, its fields, what it cost."""

import hashlib
import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import DocumentRow, LedgerReader, StageResultRow, open_reader

Row = dict[str, JsonValue]

FIELD = "fields."
"""Goes before the name of a field that stages set; no other column begins with it."""

COLUMNS: dict[str, type] = {
    "document_id": str,
    "position": int,
    "source": str,
    "outcome": str,
    "error_code": str,
    "error": str,
    "failed_stage": str,
    "reworks": int,
    "artifact_path": str,
    "artifact_sha256": str,
    "started_at": str,
    "ended_at": str,
    "requests": int,
    "attempts": int,
    "input_tokens": int,
    "output_tokens": int,
    "charged_tokens": int,
    "cost_usd": float,
}
"""The columns of every table, in order; `text` follows where it is asked for, then the fields."""

TEXT = "text"

_SURROGATES = re.compile("[\ud800-\udfff]")


class Rows:
    """The rows of one run as of one moment, in source order; read again at each iteration, one at a time in memory.

    Attributes:
        columns: names of those that every row has.
    """

    def __init__(self, ledger: LedgerReader, *, with_text: bool) -> None:
        self._ledger = ledger
        self._with_text = with_text
        self.columns = (*COLUMNS, TEXT) if with_text else tuple(COLUMNS)

    def __iter__(self) -> Iterator[Row]:
        """Yield a row for each document that ended, well or badly."""
        for document in self._ledger.documents():
            if document.outcome is not None:
                yield self._row(document)

    def _row(self, document: DocumentRow) -> Row:
        text, fields = _last(self._ledger.stage_results_of(document.document_id), document)
        row: Row = {
            "document_id": document.document_id,
            "position": document.position,
            "source": document.source,
            "outcome": document.outcome,
            "error_code": document.error_code,
            "error": document.error,
            "failed_stage": document.failed_stage,
            "reworks": document.reworks,
            "artifact_path": None if document.artifact is None else document.artifact.path,
            "artifact_sha256": None if document.artifact is None else document.artifact.sha256,
            "started_at": document.started_at.isoformat(),
            "ended_at": None if document.ended_at is None else document.ended_at.isoformat(),
            **self._spent(document.document_id),
        }
        if self._with_text:
            row[TEXT] = text
        return {_clean(name): _storable(value) for name, value in {**row, **fields}.items()}

    def _spent(self, document_id: str) -> Row:
        calls: set[str] = set()
        attempts = input_tokens = output_tokens = charged = micro_usd = 0
        is_known = True
        for row in self._ledger.attempts_of(document_id):
            attempt = row.attempt
            attempts += 1
            calls.add(attempt.call_id or attempt.attempt_id)
            charged += attempt.charged_tokens
            if attempt.usage is not None:
                input_tokens += attempt.usage.input_tokens
                output_tokens += attempt.usage.output_tokens
            is_known &= attempt.cost_micro_usd is not None
            micro_usd += attempt.cost_micro_usd or 0
        return {
            "requests": len(calls),
            "attempts": attempts,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "charged_tokens": charged,
            "cost_usd": micro_usd / 1_000_000 if is_known else None,
        }


@contextmanager
def open_rows(ledger: Path, *, with_text: bool) -> Generator[Rows]:
    """Read the rows of a run, finished or going on, from its ledger; nothing on disk is changed.

    Args:
        ledger: its path.
        with_text: a column with what the document's text was last.

    Raises:
        LedgerError: it can't be read, or was changed meanwhile by a run that went on.
    """
    with open_reader(ledger) as reader:
        yield Rows(reader, with_text=with_text)


def _last(results: Iterator[StageResultRow], document: DocumentRow) -> tuple[str | None, Row]:
    """Return what the document's text and fields were in the end.

    A stage that was changed and changed back is used again without a new result, so the last one kept need not be the
    last one used: where there is an artifact, it is the last one with its text.
    """
    chosen: dict[str, Any] = {}
    is_sure = False
    for result in results:
        value = _kept(result)
        is_its_text = document.artifact is not None and _sha256(value["text"]) == document.artifact.sha256
        if is_its_text or not is_sure:
            chosen, is_sure = value, is_its_text
    return chosen.get("text"), {f"{FIELD}{name}": value for name, value in chosen.get("fields", {}).items()}


def _kept(result: StageResultRow) -> dict[str, Any]:
    try:
        value = json.loads(result.output_json)
        if isinstance(value, dict) and isinstance(value["text"], str) and isinstance(value["fields"], dict):
            return value
    except (ValueError, KeyError, RecursionError):
        value = None
    raise LedgerError(f"the result of stage {result.stage} for document {result.document_id!r} is damaged")


def _sha256(text: str) -> str:
    return hashlib.sha256(_clean(text).encode()).hexdigest()  # as artifacts are written


def _storable(value: JsonValue) -> JsonValue:
    """Return a value that UTF-8 can hold, however deep a text stands in it."""
    if isinstance(value, str):
        return _clean(value)
    if not isinstance(value, list | dict):
        return value
    text = json.dumps(value, ensure_ascii=False)
    if (clean := _clean(text)) == text:
        return value
    kept: JsonValue = json.loads(clean)
    return kept


def _clean(text: str) -> str:
    """Return a text without lone surrogates, which become U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)
