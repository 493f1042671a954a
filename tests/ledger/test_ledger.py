"""What the ledger keeps and what it refuses, and that its tables are the documented ones."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.ledger.steps import ARTIFACT, AT, ATTEMPT, SHA, begin, finish, open_session, save

from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.errors import DuplicateDocumentError, LedgerError
from agent_pipeline.ledger import count_documents, recorded_artifacts

Ask = Callable[[str], list[dict[str, object]]]


ROUTE = ResultKey("route", 1, SHA)
START, END = "2026-11-20T09:05:00.000000+00:00", "2026-11-20T09:05:02.000000+00:00"


@pytest.fixture
async def whole_run(path: Path) -> None:
    """Write a run with one row in each table; users query these, so names and meanings are part of the contract."""
    later = AT + timedelta(seconds=2)
    async with open_session(path) as ledger:
        await begin(ledger, "1", source="u")
        ledger.record_attempt(ATTEMPT)
        await ledger.save_stage_result(StageResult("1", ResultKey("route", 1, SHA), "{}", AT, later))
        await ledger.finish_document(
            "1",
            outcome="succeeded",
            error_code=None,
            error=None,
            failed_stage=None,
            reworks=1,
            artifact=ARTIFACT,
            ended_at=later,
        )
        await ledger.finish_run(outcome="completed", reason="documents_failed", ended_at=later)


async def test_the_run_is_found_in_the_documented_columns(whole_run: None, query: Ask) -> None:
    """How it began, how it ended, and with what."""
    assert query("SELECT run_id, name, started_at, ended_at, outcome, reason, config_sha256, version FROM run") == [
        {
            "run_id": "r",
            "name": "smoke",
            "started_at": START,
            "ended_at": END,
            "outcome": "completed",
            "reason": "documents_failed",
            "config_sha256": SHA,
            "version": "0.1.0",
        }
    ]


async def test_a_document_is_found_in_the_documented_columns(whole_run: None, query: Ask, path: Path) -> None:
    """Where it came from, how it ended and where its artifact is; the artifact can be asked for by itself."""
    assert query(
        "SELECT document_id, position, source, content_sha256, outcome, error_code, error, failed_stage, reworks, "
        "artifact_path, artifact_sha256, started_at, ended_at FROM documents"
    ) == [
        {
            "document_id": "1",
            "position": 1,
            "source": "u",
            "content_sha256": SHA,
            "outcome": "succeeded",
            "error_code": None,
            "error": None,
            "failed_stage": None,
            "reworks": 1,
            "artifact_path": "/out/a.md",
            "artifact_sha256": "f" * 64,
            "started_at": START,
            "ended_at": END,
        }
    ]
    assert recorded_artifacts(path) == [ARTIFACT]
    assert count_documents(path) == 1


async def test_a_stage_result_is_found_in_the_documented_columns(whole_run: None, query: Ask) -> None:
    """What a stage made of which input."""
    assert query(
        "SELECT document_id, stage, cycle, input_sha256, output_json, started_at, ended_at FROM stage_results"
    ) == [
        {
            "document_id": "1",
            "stage": "route",
            "cycle": 1,
            "input_sha256": SHA,
            "output_json": "{}",
            "started_at": START,
            "ended_at": END,
        }
    ]


async def test_an_attempt_is_found_in_the_documented_columns(whole_run: None, query: Ask) -> None:
    """What one request was for, how it ended and what it cost."""
    assert query(
        "SELECT attempt_id, document_id, stage, role, provider, model, number, outcome, status_code, error_code, "
        "wait_seconds, wait_reason, latency_seconds, input_tokens, output_tokens, reserved_tokens, charged_tokens, "
        "cost_micro_usd, provider_request_id, started_at, cycle, method, path, error, cached_input_tokens, "
        "reasoning_tokens FROM attempts"
    ) == [
        {
            "attempt_id": "a1",
            "document_id": "1",
            "stage": "review",
            "role": "reviewer",
            "provider": "openai",
            "model": "small",
            "number": 1,
            "outcome": "succeeded",
            "status_code": 200,
            "error_code": None,
            "wait_seconds": 0.25,
            "wait_reason": "admission",
            "latency_seconds": 1.5,
            "input_tokens": 10,
            "output_tokens": 4,
            "reserved_tokens": 100,
            "charged_tokens": 14,
            "cost_micro_usd": 1234,
            "provider_request_id": "req-1",
            "started_at": START,
            "cycle": 2,
            "method": "POST",
            "path": "/v1/responses",
            "error": None,
            "cached_input_tokens": 3,
            "reasoning_tokens": 2,
        }
    ]


async def test_a_document_ends_once(path: Path, query: Ask) -> None:
    """Exactly one terminal record: the first one stays, whoever tries again is told."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await finish(ledger, "1")
        with pytest.raises(LedgerError, match=r"'1' has already ended \(failed\); it can't end as cancelled"):
            await ledger.finish_document(
                "1",
                outcome="cancelled",
                error_code=None,
                error=None,
                failed_stage=None,
                reworks=0,
                artifact=None,
                ended_at=AT,
            )
        assert ledger.failure is None

    assert query("SELECT outcome, error_code, error, failed_stage, reworks FROM documents") == [
        {
            "outcome": "failed",
            "error_code": "rejected",
            "error": "never approved",
            "failed_stage": "review",
            "reworks": 2,
        }
    ]


async def test_a_document_that_never_began_can_not_end(path: Path, query: Ask) -> None:
    """A terminal record without a beginning would make the counts wrong."""
    async with open_session(path) as ledger:
        with pytest.raises(LedgerError, match="'ghost' was never begun"):
            await finish(ledger, "ghost")

    assert query("SELECT * FROM documents") == []


async def test_an_unfinished_document_has_no_outcome(path: Path, query: Ask) -> None:
    """NULL is how a resume finds what is left to do."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")

    assert query("SELECT outcome, ended_at FROM documents") == [{"outcome": None, "ended_at": None}]


async def test_a_second_document_with_the_same_id_is_refused_and_named(path: Path, query: Ask) -> None:
    """Neither could be told from the other; the message says where both come from."""
    async with open_session(path) as ledger:
        await begin(ledger, "same")
        with pytest.raises(DuplicateDocumentError, match=r"'same': number 1 \(in.md\) and number 7 \(b.jsonl:7\)"):
            await begin(ledger, "same", position=7, source="b.jsonl:7")
        with pytest.raises(DuplicateDocumentError):
            await ledger.begin_and_finish_document(
                document_id="same", position=8, source=None, outcome="skipped", error_code=None, error="x", at=AT
            )

    assert query("SELECT position, outcome FROM documents") == [{"position": 1, "outcome": None}]


async def test_a_skipped_entry_is_one_row_that_has_ended(path: Path, query: Ask) -> None:
    """Every entry of the source is accounted for, also those nothing was done with."""
    async with open_session(path) as ledger:
        await ledger.begin_and_finish_document(
            document_id="3", position=3, source="u", outcome="skipped", error_code=None, error="no text", at=AT
        )
        with pytest.raises(LedgerError, match="already ended"):
            await ledger.finish_document(
                "3",
                outcome="succeeded",
                error_code=None,
                error=None,
                failed_stage=None,
                reworks=0,
                artifact=None,
                ended_at=AT,
            )

    (row,) = query("SELECT * FROM documents")
    assert (row["outcome"], row["error"], row["started_at"], row["content_sha256"]) == (
        "skipped",
        "no text",
        row["ended_at"],
        None,
    )


async def test_a_stage_result_is_found_by_all_four_parts_of_its_key(path: Path) -> None:
    """A result of another input, cycle, stage or document must never be taken for this one."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await save(ledger, '{"a": 1}')

        async def find(document_id: str = "1", stage: str = "route", cycle: int = 1, sha: str = SHA) -> str | None:
            return await ledger.find_stage_result(document_id, ResultKey(stage, cycle, sha))

        assert await find() == '{"a": 1}'
        assert [await find(document_id="2"), await find(stage="x"), await find(cycle=2), await find(sha="1")] == [
            None
        ] * 4


async def test_all_results_of_several_documents_are_found_at_once(path: Path) -> None:
    """More than one query takes ids; those without a result, or not known, are missing."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await begin(ledger, "2")
        await save(ledger, '{"a": 1}')
        for stage, output in (("route", "1"), ("review", "2")):
            ledger.record_stage_result(StageResult("2", ResultKey(stage, 1, SHA), output, AT, AT))

        found = await ledger.find_stage_results([*(f"unknown {number}" for number in range(600)), "1", "2"])

        assert found == {
            "1": {ROUTE: '{"a": 1}'},
            "2": {ROUTE: "1", ResultKey("review", 1, SHA): "2"},
        }
        assert await ledger.find_stage_results([]) == {}


async def test_a_result_nobody_waits_for_that_differs_ends_the_ledger(path: Path) -> None:
    """Nobody else could be told that two results were made of one input."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await save(ledger, "1")
        ledger.record_stage_result(StageResult("1", ROUTE, "2", AT, AT))

        assert "already has another result" in str(await ledger.wait_failure())
        with pytest.raises(LedgerError, match="already has another result"):
            await begin(ledger, "2")


async def test_the_first_stage_result_stays(path: Path) -> None:
    """Recorded results are exactly-once; the same result again is a repeated save, another one is a mistake."""
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        await save(ledger, "1")
        await save(ledger, "1")
        with pytest.raises(LedgerError, match="already has another result"):
            await save(ledger, "2")

        assert (await ledger.find_stage_result("1", ROUTE)) == "1"


async def test_a_stage_result_of_an_unknown_document_is_refused(path: Path, query: Ask) -> None:
    """It could never be found again; the ledger goes on."""
    async with open_session(path) as ledger:
        with pytest.raises(LedgerError, match="FOREIGN KEY"):
            await save(ledger, "1", document_id="ghost")
        assert ledger.failure is None

    assert query("SELECT * FROM stage_results") == []
