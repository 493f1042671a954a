"""How a run's end is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent_pipeline.cli.summary import Ended, essential_line, result_object, summary
from agent_pipeline.domain.result import (
    DocumentCounts,
    DocumentFailure,
    RunResult,
    SessionTotals,
    UsageTotals,
    WorkerTotals,
)
from agent_pipeline.telemetry import Redactor

FAILURES = tuple(
    DocumentFailure(str(number), "review", "bad_answer", f"hunter22 \x1b[31mwas {number}") for number in range(7)
)
RESULT = RunResult(
    run_id="tiny-1",
    run_dir=str(Path.cwd() / "logs" / "tiny-1"),
    outcome="completed",
    exit_code=1,
    reason="documents_failed",
    documents=DocumentCounts(total=12, succeeded=4, failed=8),
    usage=UsageTotals(
        requests=30, attempts=33, input_tokens=1000, output_tokens=200, charged_tokens=1500, unknown_tokens=300
    ),
    cost_usd=0.1234,
    duration_seconds=12.34,
    artifacts=("a.md",),
    failures=FAILURES,
    next=("ls out",),
)


def _ended(result: RunResult = RESULT, *, simulator: bool = False, detail: str | None = None) -> Ended:
    return Ended(result=result, detail=detail, artifacts=Path("out"), simulator=simulator, clean=Redactor(["hunter22"]))


def test_the_summary_shows_the_first_failures_and_counts_the_rest() -> None:
    """A thousand failures must not push the paths off the screen."""
    text = summary(_ended())

    assert "4 of 12 succeeded, 8 failed" in text
    assert "document 0 at review: bad_answer: [redacted] was 0" in text
    assert "document 5" not in text
    assert "and 3 more" in text
    assert "hunter22" not in text
    assert "\x1b" not in text
    assert "300 of them unconfirmed" in text
    assert "$0.1234" in text
    assert "logs/tiny-1" in text
    assert "ls out" in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("budget:tokens", "the token budget was reached"),
        ("budget:usd", "the money budget was reached"),
        (
            "budget:tokens,usd,role:a:b:usd",
            "the token budget and the money budget and the money budget of role a:b were reached",
        ),
        ("signal:SIGINT", "interrupted"),
        ("strange", "strange"),
    ],
)
def test_every_budget_that_was_reached_is_named(reason: str, words: str) -> None:
    """Whoever raises one of two would stop again at once."""
    assert f"reason:     {words}" in summary(_ended(replace(RESULT, reason=reason)))


@pytest.mark.parametrize("shown", [summary, essential_line])
def test_a_simulated_run_is_never_shown_as_a_real_one(shown: Callable[[Ended], str]) -> None:
    """No model was asked, no money was spent."""
    assert "simulated" in shown(_ended(simulator=True))
    assert "simulated" not in shown(_ended())


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (UsageTotals(), "none was sent"),
        (UsageTotals(requests=1, attempts=1), "1, in 1 HTTP attempt"),
        (UsageTotals(requests=1200, attempts=2000), "1,200, in 2,000 HTTP attempts"),
    ],
)
def test_requests_are_told_in_the_words_of_show(usage: UsageTotals, words: str) -> None:
    """The same number in other words looks like another one."""
    assert f"requests:   {words}\n" in summary(_ended(replace(RESULT, usage=usage)))


def test_documents_that_were_never_begun_are_told_where_they_are_known() -> None:
    """They are in no other number; what earlier sessions did stands beside what they belong to."""
    stopped = replace(RESULT, never_begun=1800, session=SessionTotals(kept_documents=3))

    counts = "4 of 12 succeeded, 8 failed, 3 of them in earlier sessions, 1,800 more never begun\n"
    assert f"documents:  {counts}" in summary(_ended(stopped))
    assert "8 failed, 1,800 more never begun, documents_failed" in essential_line(_ended(stopped))
    for known in (0, None):
        assert "never begun" not in summary(_ended(replace(RESULT, never_begun=known)))


@pytest.mark.parametrize(
    ("given_up", "twice", "words"),
    [
        (0, 0, "2 lost, what they had went to others"),
        (1, 1, "2 lost, what they had went to others; 1 document lost too many and failed; 1 token paid twice"),
        (
            2,
            1500,
            "2 lost, what they had went to others; 2 documents lost too many and failed; 1,500 tokens paid twice",
        ),
    ],
)
def test_what_became_of_lost_workers_is_told_without_a_word_about_nothing(
    given_up: int, twice: int, words: str
) -> None:
    """One document is no documents."""
    totals = WorkerTotals(opened=3, lost=2, given_up=given_up, late_reports=0, duplicate_tokens=twice)

    assert f"workers:    {words}\n" in summary(_ended(replace(RESULT, workers=totals)))


def test_an_unknown_price_is_not_shown_as_nothing() -> None:
    """Unknown is not zero."""
    assert "unknown" in summary(_ended(replace(RESULT, cost_usd=None)))


def test_the_object_has_the_promised_keys_and_no_secrets() -> None:
    """Programs read it; the key may be in an error text."""
    shown = result_object(_ended(detail="stopped for hunter22"))

    promised = {"run_id", "run_dir", "outcome", "exit_code", "reason", "documents", "usage", "cost_usd"}
    assert promised | {"duration_seconds", "artifacts", "next"} <= set(shown)
    assert shown["documents"] == {"total": 12, "succeeded": 4, "failed": 8, "skipped": 0, "cancelled": 0}
    assert "hunter22" not in repr(shown)
    assert shown["detail"] == "stopped for [redacted]"
