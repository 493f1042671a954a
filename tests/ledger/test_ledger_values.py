"""What becomes of values: text that is hostile or can't be stored, numbers out of range, times, missing usage."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.steps import AT, ATTEMPT, SHA, begin, open_session, save

from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger.rows import json_text, message

Ask = Callable[[str], list[dict[str, object]]]

HOSTILE = "'; DROP TABLE documents; -- \" %s :id ? \\ \n\r\t \u202e é 漢 🙂"


@pytest.mark.parametrize("threaded", [True, False])
async def test_hostile_text_is_data(path: Path, query: Ask, *, threaded: bool) -> None:
    """Everything is bound; text of a model or a source can't become a statement, and comes back as it was."""
    async with open_session(path, threaded=threaded) as ledger:
        await begin(ledger, HOSTILE)
        ledger.record_attempt(replace(ATTEMPT, attempt_id=HOSTILE, document_id=HOSTILE, error=HOSTILE, model=HOSTILE))
        await save(ledger, HOSTILE, document_id=HOSTILE, sha=HOSTILE)
        found = await ledger.find_stage_result(HOSTILE, ResultKey("route", 1, HOSTILE))

    assert found == HOSTILE
    assert query("SELECT document_id FROM documents") == [{"document_id": HOSTILE}]
    assert query("SELECT attempt_id, error, model FROM attempts") == [
        {"attempt_id": HOSTILE, "error": HOSTILE, "model": HOSTILE}
    ]


async def test_errors_that_can_not_be_stored_as_they_are_get_replacement_characters(path: Path, query: Ask) -> None:
    """A provider's garbage in an error text must not cost the record of the error."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        ledger.record_attempt(replace(ATTEMPT, error="a\x00b\ud800c"))
        await ledger.finish_document(
            "1",
            outcome="failed",
            error_code="x",
            error="\udcff" + "y" * 50_000,
            failed_stage=None,
            reworks=0,
            artifact=None,
            ended_at=AT,
        )

    assert query("SELECT error FROM attempts") == [{"error": "a\ufffdb\ufffdc"}]
    (row,) = query("SELECT error FROM documents")
    assert row["error"] == "\ufffd" + "y" * 19_998 + "…"


@given(
    text=st.text(alphabet=st.characters(), max_size=50) | st.text(st.sampled_from("a\x00\ud800\udfff…é"), max_size=9)
)
def test_any_message_can_be_stored_and_most_of_them_unchanged(text: str) -> None:
    """Oracle: SQLite itself takes it and gives the same back."""
    stored = message(text)

    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute("SELECT ?, length(?)", (stored, stored)).fetchone() == (stored, len(text))
    if not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text):
        assert stored == text


def test_json_keeps_lone_surrogates_as_escapes() -> None:
    """A stage's output must come back as what it was, so nothing may be replaced."""
    assert json_text('{"a": "\ud83d", "b": "é🙂"}') == '{"a": "\\ud83d", "b": "é🙂"}'


@pytest.mark.parametrize(
    ("refused", "match"),
    [
        (replace(ATTEMPT, charged_tokens=2**63), "charged_tokens is too large"),
        (replace(ATTEMPT, cost_micro_usd=-(2**63) - 1), "cost_micro_usd is too large"),
        (replace(ATTEMPT, wait_seconds=float("nan")), "wait_seconds is nan"),
        (replace(ATTEMPT, latency_seconds=float("inf")), "latency_seconds is inf"),
        (replace(ATTEMPT, attempt_id=""), "attempt_id is empty"),
        (replace(ATTEMPT, attempt_id="a\x00"), "can't keep"),
        (replace(ATTEMPT, document_id="\ud800"), "can't keep"),
        (replace(ATTEMPT, started_at=datetime(2026, 1, 1)), "no time zone"),  # noqa: DTZ001 - that is the point
    ],
)
async def test_an_attempt_that_can_not_be_stored_is_refused_at_once(
    path: Path, query: Ask, refused: AttemptRecord, match: str
) -> None:
    """The caller hears of it, and the ledger and the rows before and after are unharmed."""
    async with open_session(path) as ledger:
        ledger.record_attempt(replace(ATTEMPT, attempt_id="before"))
        with pytest.raises(LedgerError, match=match):
            ledger.record_attempt(refused)
        ledger.record_attempt(replace(ATTEMPT, attempt_id="after", charged_tokens=2**63 - 1))

    assert query("SELECT attempt_id FROM attempts ORDER BY 1") == [{"attempt_id": "after"}, {"attempt_id": "before"}]


async def test_times_are_utc_whatever_zone_they_come_in(path: Path, query: Ask) -> None:
    """Text order is time order only in one zone and one width."""
    local = datetime(2026, 11, 20, 1, 0, tzinfo=timezone(timedelta(hours=2)))

    async with open_session(path) as ledger:
        ledger.record_attempt(replace(ATTEMPT, started_at=local))

    assert query("SELECT started_at FROM attempts") == [{"started_at": "2026-11-19T23:00:00.000000+00:00"}]


async def test_unknown_usage_is_null(path: Path, query: Ask) -> None:
    """Nothing reported is not the same as zero tokens."""
    async with open_session(path) as ledger:
        ledger.record_attempt(replace(ATTEMPT, usage=None, cost_micro_usd=None, status_code=None))

    assert query("SELECT input_tokens, output_tokens, cached_input_tokens, cost_micro_usd FROM attempts") == [
        {"input_tokens": None, "output_tokens": None, "cached_input_tokens": None, "cost_micro_usd": None}
    ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(outputs=st.lists(st.text(max_size=20), max_size=5))
async def test_stage_results_come_back_as_they_were(tmp_path: Path, outputs: list[str]) -> None:
    """Whatever text a stage's output is, resume must see the same (as JSON: surrogates may be escaped)."""
    path = tmp_path / "ledger.sqlite3"
    path.unlink(missing_ok=True)

    async with open_session(path, threaded=False) as ledger:
        await ledger.begin_document(
            document_id="1", position=1, source=None, content_sha256=SHA, plan_sha256=None, trace_id=None, started_at=AT
        )
        for cycle, output in enumerate(outputs):
            await save(ledger, output, cycle=cycle)
        found = [await ledger.find_stage_result("1", ResultKey("route", cycle, SHA)) for cycle in range(len(outputs))]

    assert found == [json_text(output) for output in outputs]
