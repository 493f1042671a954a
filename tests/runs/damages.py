"""Ways to damage a run, one at a time, each with the words under which checking it must name the damage.

What a damage is found by more than once is listed in full: a check that falls silent changes the list.
"""

import shutil
from collections.abc import Mapping

from tests.runs.changes import (
    AN_ATTEMPT,
    ONE,
    SPAN,
    Change,
    append,
    artifact,
    attempt,
    both,
    doubled,
    dropped,
    events,
    folder,
    link,
    log,
    moved_up,
    of_nobody,
    replaced,
    reviews,
    set_manifest,
    share,
    sql,
    temporary,
    traces,
)

ARTIFACTS: Mapping[str, tuple[Change, str]] = {
    "deleted": (lambda sample: artifact(sample).unlink(), "artifact_missing"),
    "edited": (lambda sample: artifact(sample).write_text("mine now", encoding="utf-8"), "artifact_changed"),
    "replaced by a link": (link, "artifact_missing"),
    "replaced by a folder": (
        folder,
        "artifact_missing",
    ),
    "shared by two documents": (share, "artifact_shared document_event_differs result_differs"),
    "not on record": (
        sql("UPDATE documents SET artifact_path = NULL WHERE document_id = '1'"),
        "artifact_not_recorded document_event_differs result_differs",
    ),
    "of a failed document": (
        sql(
            "UPDATE documents SET artifact_path = '/x', artifact_sha256 = '', artifact_size_bytes = 0 "
            "WHERE document_id = '3'"
        ),
        "artifact_missing artifact_unexpected document_event_differs result_differs",
    ),
    "half written": (temporary, "temporary_left"),
}

LEDGER: Mapping[str, tuple[Change, str]] = {
    "document deleted": (
        sql("DELETE FROM documents WHERE document_id = '1'"),
        "document_unknown ledger_damaged position_wrong result_differs trace_unknown",
    ),
    "document added": (
        sql(
            "INSERT INTO documents (document_id, position, outcome, content_sha256, started_at, ended_at, session) "
            "SELECT 'new', 7, 'cancelled', 'x', started_at, ended_at, 1 FROM documents WHERE document_id = '1'"
        ),
        "document_event_missing result_differs run_differs",
    ),
    "document without an ending": (
        sql("UPDATE documents SET outcome = NULL, ended_at = NULL, artifact_path = NULL WHERE document_id = '1'"),
        "document_event_differs document_open result_differs",
    ),
    "another outcome": (
        sql(
            "UPDATE documents SET outcome = 'failed', error_code = 'rejected', artifact_path = NULL "
            "WHERE document_id = '1'"
        ),
        "document_event_differs result_differs",
    ),
    "failed without a reason": (
        sql("UPDATE documents SET error_code = NULL WHERE document_id = '3'"),
        "document_event_differs document_implausible",
    ),
    "fewer reworks": (
        sql("UPDATE documents SET reworks = 0 WHERE document_id = '2'"),
        "document_event_differs rework_missing",
    ),
    "a position twice": (sql("UPDATE documents SET position = 1 WHERE document_id = '2'"), "position_wrong"),
    "of a session that never was": (
        sql("UPDATE documents SET session = 7 WHERE document_id = '1'"),
        "document_event_missing session_unknown trace_id_differs",
    ),
    "another trace id": (sql("UPDATE documents SET trace_id = 'trace_0' WHERE document_id = '1'"), "trace_id_differs"),
    "result deleted": (
        sql("DELETE FROM stage_results WHERE document_id = '1' AND stage = 'name'"),
        "result_missing",
    ),
    "first cycle deleted": (
        sql("DELETE FROM stage_results WHERE document_id = '2' AND stage = 'review' AND cycle = 1"),
        "cycle_missing",
    ),
    "result of another stage": (
        sql("UPDATE stage_results SET stage = 'dream' WHERE document_id = '1' AND stage = 'name'"),
        "result_missing stage_order stage_unknown",
    ),
    "results in another order": (
        sql("UPDATE stage_results SET rowid = -rowid WHERE document_id = '1'"),
        "stage_order",
    ),
    "result of nobody": (
        sql("UPDATE stage_results SET document_id = 'gone' WHERE document_id = '1' AND stage = 'name'"),
        "document_unknown ledger_damaged result_missing",
    ),
    "session deleted": (
        sql("DELETE FROM sessions"),
        "event_missing session_unknown",
    ),
    "session skipped": (
        sql(
            "INSERT INTO sessions SELECT 3, pid, host, version, config_sha256, started_at, ended_at, outcome, reason "
            "FROM sessions"
        ),
        "event_missing session_missing",
    ),
    "session before the last without an end": (
        sql(
            "INSERT INTO sessions SELECT 2, pid, host, version, config_sha256, started_at, ended_at, outcome, reason "
            "FROM sessions",
            "UPDATE sessions SET ended_at = NULL WHERE session = 1",
        ),
        "event_missing session_open",
    ),
    "text where a number belongs": (
        sql("UPDATE documents SET reworks = 'many' WHERE document_id = '3'"),
        "document_unknown ledger_damaged result_differs trace_unknown",
    ),
    "result of a cycle that is no number": (
        sql("UPDATE stage_results SET cycle = 'x' WHERE document_id = '1' AND stage = 'name'"),
        "ledger_damaged result_missing",
    ),
    "a time without its zone": (
        sql("UPDATE documents SET started_at = '2026-11-20T00:00:00' WHERE document_id = '3'"),
        "document_unknown ledger_damaged result_differs trace_unknown",
    ),
    "another outcome of the run": (
        sql("UPDATE run SET outcome = 'failed'"),
        "result_differs run_differs",
    ),
}

ATTEMPTS: Mapping[str, tuple[Change, str]] = {
    "deleted": (
        sql("DELETE FROM attempts WHERE " + AN_ATTEMPT),  # noqa: S608
        "attempt_row_missing result_differs",
    ),
    "added": (
        sql(
            "CREATE TEMP TABLE more AS SELECT * FROM attempts WHERE " + AN_ATTEMPT,  # noqa: S608
            "UPDATE more SET attempt_id = 'new'",
            "INSERT INTO attempts SELECT * FROM more",
        ),
        "attempt_event_missing result_differs",
    ),
    "charged less": (
        attempt("charged_tokens = 1"),
        "attempt_event_differs charge_differs result_differs",
    ),
    "charged a part of what was held": (
        sql("UPDATE attempts SET charged_tokens = 1 WHERE outcome = 'failed'"),
        "attempt_event_differs charge_differs result_differs",
    ),
    "negative": (
        attempt("cost_micro_usd = -1"),
        "attempt_event_differs charge_differs result_differs",
    ),
    "charged a word": (
        attempt("charged_tokens = 'much'"),
        "attempt_row_missing ledger_damaged result_differs",
    ),
    "of no cycle": (attempt("cycle = NULL"), "attempt_event_differs cycle_missing"),
    "without an end": (
        attempt("outcome = NULL"),
        "attempt_event_differs attempt_open",
    ),
    "succeeded with an error": (
        attempt("error_code = 'server_error'"),
        "attempt_event_differs attempt_implausible",
    ),
    "of another session": (
        attempt("session = 4"),
        "attempt_event_differs session_unknown trace_id_differs",
    ),
    "of a document that never was": (
        attempt("document_id = 'gone'"),
        "attempt_event_differs document_unknown trace_id_differs",
    ),
    "of a stage that never was": (
        attempt("stage = 'dream'"),
        "attempt_event_differs stage_unknown",
    ),
    "of a cycle that never was": (
        attempt("cycle = 9"),
        "attempt_event_differs cycle_missing",
    ),
    "of another span": (
        attempt("span_id = 'span_0'"),
        "attempt_event_differs span_missing",
    ),
    "of another trace": (
        attempt("trace_id = 'trace_0'"),
        "attempt_event_differs span_trace_differs trace_id_differs",
    ),
}

LOGS: Mapping[str, tuple[Change, str]] = {
    "event deleted": (events(dropped("STAGE_STARTED", ONE)), "event_missing"),
    "line of the log deleted": (log(dropped("STAGE_STARTED", "doc=1")), "log_line_missing"),
    "events in another order": (
        events(moved_up("STAGE_STARTED", ONE)),
        "event_missing log_line_missing",
    ),
    "another time in the log": (
        log(lambda lines: [lines[0], "2020-01-01T00:00:00.000" + lines[1][23:], *lines[2:]]),
        "event_missing log_line_missing",
    ),
    "another outcome in the log": (
        log(replaced("outcome=succeeded", "outcome=failed", "DOCUMENT_FINISHED")),
        "event_missing log_line_missing",
    ),
    "a stage's own word deleted": (log(dropped(" ROUTED ")), "log_line_missing"),
    "event garbled": (events(replaced('"event":', '"event"', "STAGE_STARTED")), "event_missing line_unreadable"),
    "event without the zone of its time": (
        events(replaced('Z","event":"STAGE_STARTED"', '","event":"STAGE_STARTED"')),
        "event_missing line_unreadable",
    ),
    "event that is no object": (events(lambda lines: [*lines, "[]\n"]), "line_unreadable"),
    "line of the log garbled": (log(replaced("doc=1", 'doc="1', "STAGE_STARTED")), "line_unreadable log_line_missing"),
    "events torn": (append(lambda sample: sample.run.events, b'{"at":"2026'), "line_torn"),
    "log torn": (append(lambda sample: sample.run.log, b"2026-11-20T1"), "line_torn"),
    "no beginning of a document": (both(dropped("DOCUMENT_STARTED", "/1")), "document_event_missing"),
    "no end of a document": (both(dropped("DOCUMENT_FINISHED", "plain-words")), "document_event_missing"),
    "end of a document twice": (both(doubled("DOCUMENT_FINISHED", "plain-words")), "document_finished_twice"),
    "beginning of a document twice": (both(doubled("DOCUMENT_STARTED")), "document_started_twice"),
    "end before the beginning": (both(moved_up("DOCUMENT_FINISHED", "plain-words")), "document_order"),
    "another number of reworks": (
        events(replaced('"reworks":1', '"reworks":3', "DOCUMENT_FINISHED")),
        "document_event_differs",
    ),
    "no rework": (both(dropped("REWORK")), "rework_missing"),
    "of a document that never was": (
        of_nobody,
        "document_event_missing document_unknown",
    ),
    "of a later session": (
        events(lambda lines: [line.replace('"session":1', '"session":2') for line in lines]),
        "attempt_event_differs document_event_differs document_event_missing event_missing",
    ),
    "attempt deleted": (both(dropped("ATTEMPT", "200")), "attempt_event_missing"),
    "attempt twice": (both(doubled("ATTEMPT", "200")), "attempt_told_twice"),
    "attempt charged otherwise": (
        events(replaced('"charged_tokens":', '"charged_tokens":9', "ATTEMPT")),
        "attempt_event_differs",
    ),
    "attempt never sent": (events(replaced('"sent":true', '"sent":false', "ATTEMPT")), "attempt_event_differs"),
    "end of the run deleted": (both(dropped("PIPELINE_FINISHED")), "event_missing"),
    "another number of documents": (
        events(replaced('"succeeded":3', '"succeeded":4', "PIPELINE_FINISHED")),
        "result_differs",
    ),
    "review deleted": (reviews(dropped('"document_id":"1"')), "review_missing"),
    "review added": (reviews(doubled('"document_id":"1"')), "review_event_missing"),
    "review edited": (reviews(replaced('"approved":false', '"approved":true')), "review_differs"),
    "review torn": (append(lambda sample: sample.run.reviews, b'{"at'), "line_torn"),
}

TRACES: Mapping[str, tuple[Change, str]] = {
    "trace deleted": (traces(dropped('"object":"trace",', ONE)), "trace_missing"),
    "trace twice": (traces(doubled('"object":"trace",', ONE)), "trace_twice"),
    "trace of another document": (
        traces(replaced(ONE, '"document_id":"2"', '"object":"trace",')),
        "trace_document_differs",
    ),
    "trace of no document": (
        traces(lambda lines: [*lines, '{"object":"trace","id":"trace_0","metadata":{"run_id":"x"}}\n']),
        "trace_unknown",
    ),
    "span of a request deleted": (traces(dropped(SPAN, '"type":"response"')), "span_missing"),
    "span twice": (traces(doubled(SPAN, '"type":"response"')), "span_twice"),
    "span in another trace": (
        traces(replaced('"trace_id":"trace_', '"trace_id":"trace_0', '"type":"response"')),
        "span_trace_differs trace_missing",
    ),
    "neither trace nor span": (traces(lambda lines: [*lines, '{"object":"dream"}\n']), "line_unreadable"),
    "torn": (append(lambda sample: sample.run.sdk_traces, b'{"object'), "line_torn"),
    "deleted": (lambda sample: sample.run.sdk_traces.unlink(), "file_missing"),
}

MANIFEST: Mapping[str, tuple[Change, str]] = {
    "garbled": (lambda sample: sample.run.manifest.write_text("{", encoding="utf-8"), "manifest_unreadable"),
    "nested": (lambda sample: sample.run.manifest.write_text("[" * 100_000, encoding="utf-8"), "manifest_unreadable"),
    "a list": (lambda sample: sample.run.manifest.write_text("[]", encoding="utf-8"), "manifest_unreadable"),
    "of another run": (set_manifest("run_id", to="other"), "manifest_differs"),
    "without a version": (set_manifest("versions", "trio", to=""), "version_missing"),
    "another sum": (set_manifest("result", "usage", "charged_tokens", to=1), "result_differs"),
    "another cost": (set_manifest("result", "cost_usd", to=9.5), "result_differs"),
    "another count": (set_manifest("result", "documents", "failed", to=0), "result_differs"),
    "another outcome": (set_manifest("result", "outcome", to="failed"), "result_differs"),
    "without artifacts": (set_manifest("result", "artifacts", to=[]), "result_differs"),
    "a loop left open": (set_manifest("resources", "loops", to={"opened": 4, "closed": 3}), "left_open"),
}

FILES: Mapping[str, tuple[Change, str]] = {
    "config edited": (append(lambda sample: sample.run.path / "config.yaml", b"#"), "config_differs file_changed"),
    "roles edited": (append(lambda sample: sample.run.path / "roles.yaml", b"#"), "file_changed"),
    "ledger written to": (
        lambda sample: sample.write_ahead("UPDATE documents SET error = 'mine' WHERE document_id = '3'"),
        "file_changed",
    ),
    "SDK log deleted": (lambda sample: sample.run.sdk_log.unlink(), "file_missing"),
    "rejected texts deleted": (lambda sample: shutil.rmtree(sample.run.rejected), "file_missing"),
    "log extended by a note": (
        append(lambda sample: sample.run.log, b"2026-11-20T10:00:00.000Z INFO NOTE\n"),
        "event_missing file_changed",
    ),
}
"""These are not sealed: the manifest has the hashes of the files as they were."""
