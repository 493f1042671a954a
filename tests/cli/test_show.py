"""`show`: a run, or one of its documents, on one screen."""

import json
import re
from typing import Any

import pytest
from tests.cli.conftest import Cli
from tests.cli.looked import labelled, lines, listed
from tests.runs.sample import Sample


def test_a_run_is_shown_on_one_screen(look: Cli, past: Sample) -> None:
    """Verdict, reason, where time and money went, what failed, what to type."""
    shown = look("show", "trial").out

    assert lines(shown)[0] == f"{past.run.run_id}: completed, but 2 documents failed"
    assert labelled(shown, "reason:") == "more documents failed than --fail-on-error allows"
    assert labelled(shown, "documents:") == "3 of 6 succeeded, 2 failed, 1 skipped"
    assert labelled(shown, "requests:") == "24, in 26 HTTP attempts, 2 failed"
    assert "which" not in labelled(shown, "answers:")
    assert re.search(r"^review +7 +1 ", shown, re.MULTILINE)
    assert re.search(r"^router +openai/gpt-5-mini +4 +6 ", shown, re.MULTILINE)
    assert re.search(r"our retry policy +between two attempts$", shown, re.MULTILINE)
    assert re.search(r"^rejected +review +1 +3 +stage review did not approve", shown, re.MULTILINE)
    assert labelled(shown, "next:") == f"agent-pipeline why out/logs/{past.run.run_id} 3"
    assert f"agent-pipeline resume out/logs/{past.run.run_id} --retry-failed" in shown


def test_why_a_run_ended_early_is_what_the_last_session_said_first(look: Cli, past: Sample) -> None:
    """As the reason is: neither an earlier session's nor what came to a run that was stopping."""

    def stopping(detail: str) -> str:
        return f'{{"at":"2026-01-01T00:00:00Z","event":"PIPELINE_STOPPING","detail":"{detail}"}}\n'

    begun = '{"at":"2026-01-01T00:00:00Z","event":"PIPELINE_STARTED"}\n'
    said = [stopping(one) for one in ("SIGTERM received", "no room", "SIGINT received")]
    past.sql("UPDATE run SET outcome = 'incomplete', reason = 'budget:tokens'")

    past.edit(past.run.events, lambda before: [*before, said[0], begun, *said[1:]])
    stopped = lines(look("show", "trial").out)
    past.edit(past.run.events, lambda before: [*before, begun])
    resumed = look("show", "trial").out

    assert stopped[1:3] == ["reason:    the token budget was reached; what is finished is kept", "           no room"]
    assert "no room" not in resumed
    assert "received" not in resumed


def test_a_document_whose_artifact_has_no_recorded_size_is_shown(look: Cli, past: Sample) -> None:
    """What is wrong with a ledger is `verify`'s business, and no bug of ours."""
    past.sql("UPDATE documents SET artifact_size_bytes = NULL WHERE document_id = '1'")

    shown, told = look("show", "trial", "1"), look("why", "trial", "1")

    assert (shown.code, told.code, look("show", "trial", "1", "--json").code) == (0, 0, 0)
    for one in (shown, told):
        assert labelled(one.out, "artifact:").endswith(" bytes, not recorded how many it had)")
    assert look("verify", "trial").code == 1


def test_limits_that_changed_are_told(look: Cli, past: Sample) -> None:
    """From the events: what was 20 at first may be 7 at the end, for a reason."""
    events: list[dict[str, Any]] = [
        {"event": "LIMIT_CHANGED", "provider": "p", "model": "m", "old": 20, "new": 16, "reason": "rate_limited"},
        {"event": "LIMIT_CHANGED", "provider": "p", "model": "m", "old": 16, "new": 18, "reason": "recovered"},
        {"event": "LIMIT_CHANGED", "provider": "p", "model": "m", "old": "broken", "new": 18, "reason": "recovered"},
        {"event": "BREAKER", "provider": "p", "model": "m", "state": "open", "reason": "down"},
        {"event": "LIVE_CHANGED", "key": "budget_tokens", "old": 1, "new": 2, "revision": 1},
        {"event": "DOCUMENTS_CLAMPED", "wanted": 100, "in_flight": 9},
    ]
    added = [json.dumps({"at": "2026-01-01T00:00:00Z", **one}, separators=(",", ":")) + "\n" for one in events]
    past.edit(past.run.events, lambda before: [*before, *added])

    shown = look("show", "trial").out
    told = look("show", "trial", "--json").json()["limits"]

    assert "p m: requests in flight 20 > 18 in 2 steps, between 16 and 20, 1 episode of 429s" in shown
    assert "p m: failed for all 1 time; requests waited, one was tried" in shown
    assert "budget_tokens: 1 > 2, by the live file" in shown
    assert "documents in flight: 100 > 9, by the limit on open files" in shown
    assert [one["limit"] for one in listed(told)][-3:] == ["breaker", "budget_tokens", "documents_in_flight"]


def test_a_budget_that_was_reached_is_asked_to_be_raised(look: Cli, past: Sample) -> None:
    """The next command would only stop again otherwise."""
    past.sql("UPDATE run SET outcome = 'incomplete', reason = 'budget:usd'")

    shown = look("show", "trial").out

    assert labelled(shown, "reason:") == "the money budget was reached; what is finished is kept"
    assert f"agent-pipeline resume out/logs/{past.run.run_id} --budget-usd MORE" in shown


@pytest.mark.parametrize("typed", ["2", "#2"])
def test_a_document_is_shown_with_what_its_stages_made(look: Cli, past: Sample, typed: str) -> None:
    """The fields they left, and where the artifact is."""
    shown = look("show", "trial", typed).out

    assert lines(shown)[0] == f"document 2 of {past.run.run_id}: succeeded"
    assert labelled(shown, "source:") == "https://example.org/2, number 2"
    assert labelled(shown, "reworks:") == "1"
    assert re.fullmatch(r"out/artifacts/with-a-flaw\.md \(\d+ bytes\)", labelled(shown, "artifact:"))
    assert re.search(r"^review +1 .*not approved: The text holds a line", shown, re.MULTILINE)
    assert re.search(r"^route +1 .*route=markdown", shown, re.MULTILINE)


def test_an_artifact_that_is_gone_or_changed_is_told(look: Cli, past: Sample) -> None:
    """The ledger says what was; the user wants what is."""
    artifact = past.project.artifacts / "with-a-flaw.md"
    artifact.write_text("x", encoding="utf-8")
    changed = labelled(look("show", "trial", "2").out, "artifact:")
    artifact.unlink()
    gone = labelled(look("show", "trial", "2").out, "artifact:")

    assert re.search(r"\(1 bytes, changed since: it had \d+\)", changed)
    assert gone.endswith("which is gone")


def test_the_last_text_of_a_rejected_document_is_named(look: Cli, past: Sample) -> None:
    """No record names the file; others may lie beside it."""
    (past.run.rejected / "0.md").write_text("another's", encoding="utf-8")

    assert labelled(look("show", "trial", "3").out, "last text:").endswith("rejected/3.md")
    assert str(look("show", "trial", "3", "--json").json()["rejected_text"]).endswith("rejected/3.md")
