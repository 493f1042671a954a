"""`why`: a document's story for each way it can end, or stand."""

import json
import re

from tests.cli.conftest import Cli
from tests.cli.looked import killed_in_flight, labelled, lines, listed
from tests.runs.sample import Sample, cut_off_review


def test_why_a_document_ended_well(look: Cli) -> None:
    """Its story, what it cost, and where it is."""
    told = look("why", "trial", "2").out

    story = lines(told)[2]
    assert story.startswith("Document 2 (https://example.org/2), number 2 of the source, ended well after ")
    assert "It went through route, transform, review, name and remark in 7 passes, and was sent back once." in story
    assert "the simulator answered, nothing was paid" in story
    assert "review: succeeded in" in told
    assert "not approved" in told
    assert labelled(told, "why:") == "every stage ended well, and the artifact was written"
    assert labelled(told, "next:") == "less out/artifacts/with-a-flaw.md"


def test_why_a_document_was_rejected(look: Cli, past: Sample) -> None:
    """The reviewer's own words, the last text, and the way on."""
    told = look("why", "trial", "3").out

    assert lines(told)[0] == f"document 3 of {past.run.run_id}: failed as rejected at review"
    assert labelled(told, "why:") == "the reviewer never approved the document"
    assert labelled(told, "reviewer:").startswith("review, cycle 3: The text holds a line that is marked")
    assert labelled(told, "next:") == f"less out/logs/{past.run.run_id}/rejected/3.md"
    assert lines(told)[-1].strip() == f"agent-pipeline resume out/logs/{past.run.run_id} --retry-failed"


def test_why_a_document_was_skipped(look: Cli) -> None:
    """Nothing is wrong with the run."""
    told = look("why", "trial", "4").out

    assert "No stage saw it, no request was sent and nothing was spent." in told
    assert labelled(told, "why:") == "the source's entry has nothing to work on"
    assert labelled(told, "document:") == "no url (url, source_url or link)"


def test_why_a_request_was_refused_tells_what_the_provider_said(look: Cli, past: Sample) -> None:
    """Its error, the attempts before it, and whose wait that was."""
    past.sql(
        "UPDATE documents SET outcome = 'failed', error_code = 'server_error', error = 'gave up', "
        "failed_stage = 'route' WHERE document_id = '1'",
        "DELETE FROM stage_results WHERE document_id = '1'",
        "DELETE FROM attempts WHERE document_id = '1' AND (stage <> 'route' OR number > 1)",
        "UPDATE attempts SET outcome = 'failed', status_code = 503, error_code = 'server_error', "
        "error = 'out of order', wait_seconds = 2.5, wait_reason = 'retry_after', input_tokens = NULL, "
        "provider_request_id = 'req_42' "
        "WHERE document_id = '1'",
    )

    told = look("why", "trial", "1").out

    assert "waited 2.50 s as long as the provider's Retry-After said (the provider)" in lines(told)[2]
    assert "503 server_error" in told
    assert "request id req_42: out of order" in told
    assert labelled(told, "document:") == "route: server_error: gave up"
    assert labelled(told, "attempt:").endswith("server_error: out of order")
    assert labelled(told, "why:") == "the provider reported an error of its own, in every attempt"


def test_why_a_killed_document_is_not_finished(look: Cli, past: Sample) -> None:
    """What it was at, and that going on costs nothing that was paid for."""
    killed_in_flight(past)

    told = look("why", "trial", "6").out

    assert lines(told)[0].endswith("not finished: the process that worked on it was killed")
    assert "number 6 of the source, has not ended." in lines(told)[2]
    assert labelled(told, "why:").startswith(
        "the process that worked on it was killed while it was waiting for the answer to a"
    )
    assert "not paid for again" in labelled(told, "to do:")
    assert labelled(told, "next:") == f"agent-pipeline resume out/logs/{past.run.run_id}"


def test_why_a_document_is_still_at_work(look: Cli, past: Sample) -> None:
    """There is nothing to mend."""
    killed_in_flight(past)

    with past.run.locked():
        told = look("why", "trial", "6").out

    assert lines(told)[0].endswith("being worked on")
    assert labelled(told, "why:").startswith(
        "nothing is wrong as far as is known: it is waiting for the answer to a request of role router"
    )
    assert labelled(told, "to do:").startswith("wait, and look again")
    assert re.fullmatch(r"kill -USR1 \d+", lines(told)[-1].strip())


def test_why_a_document_was_cancelled_is_the_run_s_reason(look: Cli, past: Sample) -> None:
    """It was nothing of its own."""
    past.sql(
        "UPDATE run SET outcome = 'incomplete', reason = 'signal:SIGINT'",
        "UPDATE documents SET outcome = 'cancelled', artifact_path = NULL WHERE document_id = '6'",
    )

    told = look("why", "trial", "6").out

    assert lines(told)[0].endswith("cancelled")
    assert labelled(told, "why:").endswith("(interrupted; what is finished is kept)")
    assert labelled(told, "next:") == f"agent-pipeline resume out/logs/{past.run.run_id}"


def test_why_a_budget_cut_a_document_off(look: Cli, past: Sample) -> None:
    """The way on is more of it."""
    past.sql(
        "UPDATE run SET outcome = 'incomplete', reason = 'budget:tokens'",
        "UPDATE documents SET outcome = 'cancelled', error_code = 'budget_exceeded', error = 'no room', "
        "artifact_path = NULL WHERE document_id = '6'",
    )

    told = look("why", "trial", "6").out

    assert labelled(told, "why:") == "the budget of the run, or of the role, had no room for the next request"
    assert labelled(told, "next:") == f"agent-pipeline resume out/logs/{past.run.run_id} --budget-tokens MORE"


def test_without_its_logs_the_ledger_still_tells_the_story(look: Cli, past: Sample) -> None:
    """Somebody tidied up."""
    for file in (past.run.events, past.run.sdk_traces, past.run.manifest):
        file.unlink()

    told = look("why", "trial", "3").out

    assert "stage review, cycle 3: succeeded" in told
    assert "agent " not in told
    assert labelled(told, "why:") == "the reviewer never approved the document"


def test_what_happened_in_an_earlier_session_is_not_told_as_a_cause(look: Cli, past: Sample) -> None:
    """It was begun anew since."""
    fallback = {"role": "writer", "fallback": "other", "reason": "unavailable", "error_code": "server_error"}
    line = {"at": "2026-01-01T00:00:00Z", "event": "FALLBACK", "document_id": "3", "stage": "route", **fallback}
    written = json.dumps(line, separators=(",", ":")) + "\n"
    past.edit(past.run.events, lambda before: [written, *before])
    before = look("why", "trial", "3").out
    past.edit(past.run.events, lambda lines_: [*lines_, written])
    after = look("why", "trial", "3").out

    assert "fallback:" not in before
    assert labelled(after, "fallback:").startswith("route: server_error: role writer could not answer (unavailable)")


def test_what_an_earlier_session_left_is_told_as_that_session_s(look: Cli, past: Sample) -> None:
    """Under the pass of the last session it would look as if that one had been interrupted."""
    cut_off_review(past, "session")

    told = look("why", "trial", "1").out
    (table,) = [one for one in lines(look("show", "trial", "1").out) if "no result" in one]
    stages = [one for one in listed(look("show", "trial", "1", "--json").json()["stages"]) if one["stage"] == "review"]

    place = next(number for number, line in enumerate(lines(told)) if "stage review: no result in session 1" in line)
    assert "interrupted in 0 ms" in lines(told)[place + 1]
    assert "stage review: succeeded in" in lines(told)[place + 2]
    assert table.split() == ["review", "1", "1", "no", "result", "in", "session", "1"]
    assert [(one["session"], one["left_by"]) for one in stages] == [(1, "session"), (2, None)]


def test_what_a_lost_worker_left_is_told_as_such(look: Cli, past: Sample) -> None:
    """Its session went on."""
    cut_off_review(past, "worker")

    told = look("why", "trial", "1").out

    assert "stage review: no result by a worker that was lost" in told
    assert "went through route, transform, review, name and remark in 6 passes." in lines(told)[2]


def test_an_open_step_of_an_earlier_session_is_not_what_a_document_is_at(look: Cli, past: Sample) -> None:
    """Its end is not on record, and it is over."""
    killed_in_flight(past)
    past.sql(
        "INSERT INTO sessions SELECT 2, pid, host, version, config_sha256, '2100-01-01T00:00:00+00:00', NULL, NULL, "
        "NULL FROM sessions",
        "UPDATE documents SET session = 2 WHERE document_id = '6'",
        "UPDATE attempts SET outcome = 'succeeded' WHERE document_id = '6'",
    )
    past.edit(past.run.events, lambda before: [line for line in before if '"6"' not in line])

    told = look("why", "trial", "6").out

    assert labelled(told, "why:") == "the process that worked on it was killed while it was between two stages"
