"""`runs`, `show`, `trace` and `why`: what they say of a run, and of what people mistype."""

import json
import re
import shlex
import time
from typing import Any

import pytest
from tests.cli.conftest import Cli
from tests.runs.sample import Sample, kill

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e"


def lines(text: str) -> list[str]:
    return text.splitlines()


def labelled(text: str, label: str) -> str:
    """Return the line behind a label."""
    return next(line.removeprefix(label).strip() for line in lines(text) if line.startswith(label))


def killed_in_flight(past: Sample) -> None:
    """Let the run look as SIGKILL leaves it while document 6 waited for an answer of its first stage."""
    kill(past)
    past.sql(
        "UPDATE documents SET outcome = NULL, ended_at = NULL, artifact_path = NULL WHERE document_id = '6'",
        "DELETE FROM stage_results WHERE document_id = '6'",
        "DELETE FROM attempts WHERE document_id = '6' AND (stage <> 'route' OR number > 1)",
        "UPDATE attempts SET outcome = NULL, status_code = NULL, input_tokens = NULL WHERE document_id = '6'",
    )
    past.run.sdk_traces.write_text("", encoding="utf-8")  # spans are written as they end
    last = re.compile('"event":"(DOCUMENT|STAGE)_STARTED".*"document_id":"6"(,"stage":"route"|,"position")')
    past.edit(past.run.events, lambda before: [line for line in before if '"6"' not in line or last.search(line)])


# --- runs


def test_runs_are_told_in_a_line_each(look: Cli, past: Sample) -> None:
    """How it ended, what it did, what it cost, and who answered."""
    ran = look("runs")

    title, line = lines(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert title.split("  ")[0] == "RUN"
    assert re.fullmatch(rf"{past.run.run_id}  [\d: -]+  completed +3/6 +2 +[\d,]+ +\$[\d.]+  simulator", line)


def test_a_damaged_run_is_a_line_and_not_the_end(look: Cli, past: Sample) -> None:
    """The others are what one looks for."""
    logs = past.project.logs
    for name, content in (
        ("trial-2031-01-01_00h00m00s-aaaaaa", b"no ledger"),
        ("trial-2032-01-01_00h00m00s-bbbbbb", None),
    ):
        (logs / name).mkdir()
        if content is not None:
            (logs / name / "ledger.sqlite3").write_bytes(content * 200)

    ran = look("runs")
    told = look("runs", "--json").json()

    assert ran.code == 0
    assert [line.split()[0][-6:] for line in lines(ran.out)[1:]] == ["bbbbbb", "aaaaaa", past.run.run_id[-6:]]
    assert [line.split()[1] for line in lines(ran.out)[1:3]] == ["damaged", "damaged"]
    assert "ledger.sqlite3 is missing" in ran.err
    assert "this is no ledger" in ran.err
    assert [one["state"] for one in _list(told["runs"])] == ["damaged", "damaged", "completed"]


def test_only_as_many_runs_are_opened_as_are_wanted(look: Cli, past: Sample) -> None:
    """And it is said that there are more."""
    for number in range(3):
        (past.project.logs / f"old-2001-01-0{number + 1}_00h00m00s-aaaaaa").mkdir()

    ran = look("runs", "--limit", "1")

    assert len(lines(ran.out)) == 2
    assert "3 older ones are not shown; --limit 4 shows all" in ran.err


def test_no_runs_are_no_error(look: Cli, past: Sample) -> None:
    """There is a first time."""
    past.project.config.unlink()

    ran = look("runs")

    assert (ran.code, ran.out) == (0, "")
    assert "no runs in logs; `agent-pipeline run` begins one" in ran.err


def test_an_unknown_cost_is_never_nothing(look: Cli, past: Sample) -> None:
    """Nothing would be believed."""
    past.sql("UPDATE attempts SET cost_micro_usd = NULL")

    assert " unknown " in lines(look("runs").out)[1]
    assert labelled(look("show", "trial").out, "cost:") == "nothing (simulated)"
    assert [one["cost_usd"] for one in _list(look("runs", "--json").json()["runs"])] == [None]


def test_a_run_that_goes_on_is_told_from_a_killed_one(look: Cli, past: Sample) -> None:
    """By the lock on its directory, which dies with the process."""
    killed_in_flight(past)

    assert " killed " in lines(look("runs").out)[1]
    with past.run.locked():
        going = lines(look("runs").out)[1]
    assert " running " in going
    assert " 2/6 so far " in going


# --- show


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
    assert [one["limit"] for one in _list(told)][-3:] == ["breaker", "budget_tokens", "documents_in_flight"]


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
    """No record names the file."""
    assert labelled(look("show", "trial", "3").out, "last text:").endswith("rejected/3.md")
    assert str(look("show", "trial", "3", "--json").json()["rejected_text"]).endswith("rejected/3.md")


# --- which run, which document


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("nope", "no run 'nope'"),
        ("trail", "did you mean 'trial-"),
        ("", "no run ''"),
        ("pipeline.yaml", "no run 'pipeline.yaml'"),
        ("out", "not a run directory"),
        ("/", "not a run directory"),
    ],
)
@pytest.mark.parametrize("command", [["show"], ["trace"], ["why"]])
def test_what_is_no_run_is_said_in_a_sentence(look: Cli, command: list[str], typed: str, said: str) -> None:
    """Exit code 3, with what was probably meant."""
    document = ["1"] if command == ["why"] else []

    ran = look(*command, typed, *document, "--json")

    assert ran.code == 3
    assert ran.error()["code"] == "run_invalid"
    assert said in ran.error()["message"]
    assert "Traceback" not in ran.err


def test_an_ambiguous_beginning_names_what_there_is(look: Cli, past: Sample) -> None:
    """One of them is meant."""
    (past.project.logs / "trial-2031-01-01_00h00m00s-aaaaaa").mkdir()

    assert "2 runs in" in look("show", "trial").err


@pytest.mark.parametrize("damage", [b"", b"no database, only text" * 100])
def test_a_broken_ledger_is_no_traceback(look: Cli, past: Sample, damage: bytes) -> None:
    """It is the run that can't be read: exit code 3."""
    past.run.ledger.write_bytes(damage)

    for command in (["show", "trial"], ["why", "trial", "1"], ["trace", "trial"]):
        ran = look(*command)
        assert ran.code == 3
        assert ran.err.startswith("error: ")
        assert len(lines(ran.err)) == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("77", "it has 6, the first is '1'"),
        ("example.org/6", "did you mean 6 (https://example.org/6)?"),
        ("#7", "no document at position 7"),
        ("#0", "no document at position 0"),
        ("", "no document ''"),
        ("x'; DROP TABLE documents --", "the run has no document"),
        (HOSTILE, "the run has no document"),
    ],
)
def test_what_is_no_document_is_said_in_a_sentence(look: Cli, typed: str, said: str) -> None:
    """Exit code 3, nothing of what was typed reaches the terminal raw."""
    ran = look("why", "trial", typed)

    assert ran.code == 3
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_documents_are_found_by_the_beginning_of_their_id(look: Cli, past: Sample) -> None:
    """Ids of folders are paths; several that begin alike are named."""
    past.sql("PRAGMA foreign_keys = OFF", "UPDATE documents SET document_id = 'notes/' || document_id || '.md'")

    assert lines(look("show", "trial", "notes/4").out)[0].startswith("document notes/4.md of ")
    assert (
        "several documents begin with 'notes/': notes/1.md, notes/2.md, notes/3.md, ..."
        in look("show", "trial", "notes/").err
    )
    assert "did you mean 'notes/4.md'?" in look("show", "trial", "note/4.md").err


# --- trace


def test_a_trace_is_a_tree_in_the_order_of_time(look: Cli) -> None:
    """Document, stage, agent, call, attempt; what waited says for what."""
    traced = lines(look("trace", "trial", "1").out)

    assert traced[0].startswith("+0.00 s  document 1: succeeded in ")
    assert re.match(r"├─ \+\d+\.\d\d s  stage route: succeeded in ", traced[1])
    assert re.match(r"│  └─ \+\d+\.\d\d s  agent router: succeeded in ", traced[2])
    assert "call as router of openai/gpt-5-mini: " in traced[3]
    assert traced[-2].startswith("└─ ")


def test_a_whole_run_is_traced_document_by_document(look: Cli) -> None:
    """In the order of the source."""
    traced = lines(look("trace", "trial").out)

    heads = [line for line in traced if " document " in line]
    assert [re.findall(r"document (\d)", head)[0] for head in heads] == list("123456")
    objects = look("trace", "trial", "--json").json()["documents"]
    assert [one["name"] for one in _list(objects)] == list("123456")


def test_what_failed_is_shown_alone(look: Cli) -> None:
    """With its place; a call that was mended says so."""
    traced = look("trace", "trial", "--failed").out

    assert traced.count("500 server_error") == 2
    assert re.search(r"call as router of openai/gpt-5-mini: succeeded in .* in [23] attempts", traced)
    assert "stage name" not in traced
    assert look("trace", "trial", "4", "--failed").err == "nothing failed\n"


def test_attempts_are_a_table_with_their_request_ids(look: Cli) -> None:
    """What a provider's support asks for."""
    table = lines(look("trace", "trial", "--http").out)
    failed = lines(look("trace", "trial", "--http", "--failed").out)
    slow = look("trace", "trial", "--http", "--slow", "--json").json()["attempts"]

    assert len(table) == 27
    assert table[0].endswith("REQUEST ID")
    assert all(re.search(r" req_[0-9a-f]+$", line) for line in table[1:])
    assert len(failed) == 3
    latencies = [one["latency_seconds"] for one in _list(slow)]
    assert latencies == sorted(latencies, reverse=True)
    assert len(latencies) == 10


def test_the_slowest_are_three_tables(look: Cli) -> None:
    """Of documents, passes and attempts; of one document its own."""
    told = lines(look("trace", "trial", "--slow").out)
    own = look("trace", "trial", "3", "--slow", "--json").json()

    titles = ["the slowest documents", "the slowest passes through a stage", "the slowest HTTP attempts"]
    assert [line for line in told if line.startswith("the ")] == titles
    assert {one["document_id"] for one in _list(own["stages"])} == {"3"}
    assert len(_list(own["attempts"])) == 7


def test_flags_that_make_no_sense_together_are_refused(look: Cli) -> None:
    """With what to add."""
    ran = look("trace", "trial", "--slow", "--failed")

    assert ran.code == 2
    assert "add --http" in ran.err


# --- why


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


def test_hostile_words_reach_no_terminal(look: Cli, past: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, sources, errors and models are written by others; a key in them is nobody's to see."""
    monkeypatch.setenv("MY_API_KEY", "hunter22-is-secret")
    text = f"{HOSTILE} hunter22-is-secret"
    past.sql(
        f"UPDATE documents SET error = '{text}', source = '{text}' WHERE document_id = '3'",  # noqa: S608 - own
        f"UPDATE documents SET error_code = '{HOSTILE}' WHERE document_id = '3'",  # noqa: S608
        f"UPDATE attempts SET error = '{text}', outcome = 'failed', model = '{HOSTILE}'",  # noqa: S608
        f"UPDATE attempts SET provider_request_id = '{HOSTILE}'",  # noqa: S608
    )

    for command in (["show"], ["trace"], ["trace", "--http"], ["trace", "--slow"], ["runs"]):
        words = [command[0], "trial", *command[1:]] if command != ["runs"] else command
        ran = look(*words)
        assert ran.code == 0
        assert not set(ran.out + ran.err) & {"\x1b", "\x07", "\u202e"}
        assert "hunter22" not in ran.out
    for arguments in (["why", "trial", "3"], ["show", "trial", "3"], ["why", "trial", "3", "--json"]):
        ran = look(*arguments)
        assert not set(ran.out) & {"\x1b", "\x07", "\u202e"}
        assert "hunter22" not in ran.out


def test_what_is_advised_can_be_typed(look: Cli, past: Sample) -> None:
    """Every next command of ours that only looks does so."""
    for document in "123456":
        told = look("why", "trial", document, "--json").json()["next"]
        for command in _list(told):
            program, *words = shlex.split(str(command))
            if program == "agent-pipeline" and words[0] in {"show", "trace", "why", "verify"}:
                assert look(*words).code == 0


@pytest.mark.parametrize(
    "command", [["runs"], ["show", "trial"], ["show", "trial", "3"], ["trace", "trial"], ["why", "trial", "3"]]
)
def test_looking_changes_nothing_and_programs_get_an_object(look: Cli, past: Sample, command: list[str]) -> None:
    """The last line of stdout, and the exit code in it."""
    before = {path: path.stat().st_mtime_ns for path in past.project.root.rglob("*") if path.is_file()}

    ran = look(*command, "--json")

    assert ran.json()["exit_code"] == ran.code == 0
    assert {path: path.stat().st_mtime_ns for path in past.project.root.rglob("*") if path.is_file()} == before


def test_a_live_run_can_be_looked_at(look: Cli, past: Sample) -> None:
    """Its ledger has a write-ahead log then."""
    past.write_ahead("UPDATE documents SET outcome = NULL, ended_at = NULL WHERE document_id = '6'")

    assert "1 not finished" in look("show", "trial").out


@pytest.mark.slow
def test_a_large_run_is_shown_in_seconds(look: Cli, past: Sample) -> None:
    """100,000 documents and as many requests; SQLite adds them up."""
    past.sql(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100000) "
        "INSERT INTO documents (document_id, position, outcome, started_at, ended_at, session, reworks) "
        "SELECT 'd' || v, v + 100, 'succeeded', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01+00:00', 1, 0 FROM n",
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100000) "
        "INSERT INTO attempts (attempt_id, document_id, role, provider, model, number, outcome, wait_seconds, "
        "latency_seconds, reserved_tokens, charged_tokens, method, path, started_at, session, call_id) "
        "SELECT 'a' || v, 'd' || v, 'r', 'p', 'm', 1, 'succeeded', 0, 0.1, 1, 1, 'POST', '/', "
        "'2026-01-01T00:00:00+00:00', 1, 'c' || v FROM n",
    )

    begun = time.process_time()
    codes = [look("runs").code, look("show", "trial").code, look("why", "trial", "d99999").code]

    assert codes == [0, 0, 0]
    assert time.process_time() - begun < 10


def _list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


def test_paths_are_told_as_one_would_type_them(look: Cli, past: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """From far away the whole path, else the short one."""
    elsewhere = past.project.root / "far" / "away"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)

    assert f"agent-pipeline verify {past.run.path}" in look("show", str(past.run.path)).out
