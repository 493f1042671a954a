"""A document's tree holds all that ledger, events and spans say of it, in the order of time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.runs.sample import Sample, cut_off_review

from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.causes import causes_of
from agent_pipeline.runs.happenings import Happening, happenings_named, happenings_of
from agent_pipeline.runs.spans import Span, spans_of
from agent_pipeline.runs.story import DocumentStory, LeftBy, StagePass, story_of
from agent_pipeline.runs.trace import Step, pruned, trace_of
from agent_pipeline.runs.waits import CAUSES, waits_of


def story(sample: Sample, document_id: str) -> DocumentStory:
    with open_reader(sample.run.ledger) as ledger:
        row = ledger.document(document_id)
        assert row is not None
        return story_of(ledger, row)


def spans(sample: Sample, told: DocumentStory) -> list[Span]:
    trace_id = told.document.trace_id or ""
    return spans_of(sample.run.sdk_traces, {trace_id}).get(trace_id, [])


def tree(sample: Sample, document_id: str) -> Step:
    told = story(sample, document_id)
    return trace_of(told, spans(sample, told), list(happenings_of(sample.run.events, document_id)))


def all_of(step: Step) -> Iterator[Step]:
    yield step
    for child in step.children:
        yield from all_of(child)


def test_every_attempt_is_in_the_tree_once(sample: Sample) -> None:
    """Below the agent that asked, below the pass it ran in."""
    told = story(sample, "2")

    root = tree(sample, "2")

    attempts = [step.attempt.attempt_id for step in all_of(root) if step.attempt is not None]
    assert sorted(attempts) == sorted(one.attempt_id for one in told.attempts)
    first = root.children[0]
    assert [(first.kind, first.name), (first.children[0].kind, first.children[0].name)] == [
        ("stage", "route"),
        ("agent", "router"),
    ]


def test_passes_come_in_the_order_of_time_with_their_verdicts(sample: Sample) -> None:
    """A review that ended well may have approved nothing."""
    root = tree(sample, "2")

    passes = [(step.name, step.cycle, step.approved) for step in root.children][:5]

    assert passes == [
        ("route", 1, None),
        ("transform", 1, None),
        ("review", 1, False),
        ("transform", 2, None),
        ("review", 2, True),
    ]
    assert [step.started_at for step in root.children] == sorted(step.started_at for step in root.children)


def test_a_call_tells_all_its_attempts(sample: Sample) -> None:
    """The retry after a 500 belongs to what it repeats, and the wait between them to the call's time."""
    calls = [step for one in ("1", "2", "3", "6") for step in all_of(tree(sample, one)) if step.kind == "call"]

    retried = [call for call in calls if call.attempts > 1]

    codes = [child.code for call in retried for child in call.children]
    assert codes.count("server_error") == 2
    assert codes.count(None) == len(retried) > 0
    for call in retried:
        assert call.outcome == "succeeded"
        assert call.seconds is not None
        assert call.seconds >= sum(child.seconds or 0 for child in call.children)


def test_a_pass_that_left_nothing_in_the_ledger_is_told_by_the_events(sample: Sample) -> None:
    """A stage that raises before its first request has no row anywhere."""
    told = story(sample, "1")
    at = told.document.started_at
    events = [
        Happening(at, "DOCUMENT_STARTED", {}),
        Happening(at, "STAGE_STARTED", {"stage": "mine", "cycle": 1}),
        Happening(
            at, "STAGE_FINISHED", {"stage": "mine", "cycle": 1, "duration_seconds": 2.5, "error_code": "stage_failed"}
        ),
        Happening(at, "STAGE_STARTED", {"stage": "next", "cycle": 1}),
    ]

    passes = {step.name: step for step in trace_of(told, (), events).children}

    assert (passes["mine"].outcome, passes["mine"].code, passes["mine"].seconds) == ("failed", "stage_failed", 2.5)
    assert (passes["next"].outcome, passes["next"].seconds) == (None, None)


def test_what_an_earlier_session_began_is_over(sample: Sample) -> None:
    """A pass of a killed session would look as if it still went on."""
    told = story(sample, "1")
    at = told.document.started_at
    events = [Happening(at, "STAGE_STARTED", {"stage": "old", "cycle": 1}), Happening(at, "DOCUMENT_STARTED", {})]

    assert "old" not in {step.name for step in trace_of(told, (), events).children}


@pytest.mark.parametrize("by", ["session", "worker"])
def test_what_was_cut_off_stands_apart_from_the_pass_that_ended_well(sample: Sample, by: LeftBy) -> None:
    """Agents and events are those of the later one."""
    cut_off_review(sample, by)

    root = tree(sample, "1")

    left, made = [step for step in root.children if step.name == "review"]
    assert (left.left_by, left.outcome, left.code) == (by, "failed", "interrupted")
    assert [(step.kind, step.code) for step in all_of(left)][1:] == [
        ("call", "interrupted"),
        ("attempt", "interrupted"),
    ]
    assert (made.left_by, made.outcome, made.approved) == (None, "succeeded", True)
    assert [step.kind for step in all_of(made)] == ["stage", "agent", "call", "attempt"]


def test_a_stage_that_ends_before_its_first_request_is_not_told_by_an_earlier_session(sample: Sample) -> None:
    """Its event would be put to what that session sent."""
    cut_off_review(sample, "session")
    sample.sql(
        "DELETE FROM stage_results WHERE document_id = '1' AND stage = 'review'",
        "DELETE FROM attempts WHERE document_id = '1' AND stage = 'review' AND session = 2",
    )
    told = story(sample, "1")
    at = told.document.ended_at or told.document.started_at
    values = {"stage": "review", "cycle": 1, "duration_seconds": 0.5, "error_code": "stage_failed"}
    events = [Happening(at, "STAGE_STARTED", values), Happening(at, "STAGE_FINISHED", values)]

    passes = [step for step in trace_of(told, (), events).children if step.name == "review"]

    assert [(step.session, step.left_by, step.code) for step in passes] == [
        (1, "session", "interrupted"),
        (2, None, "stage_failed"),
    ]
    assert [len(step.children) for step in passes] == [1, 0]


def test_a_result_that_was_kept_is_that_of_its_session_though_later_ones_asked_again(sample: Sample) -> None:
    """A document that was changed and changed back finds its first result."""
    cut_off_review(sample, "session")
    told = story(sample, "1")
    kept = next(one for one in told.passes if one.stage == "route")
    again = replace(
        kept,
        result=None,
        attempts=tuple(replace(one, started_at=told.passes[-1].started_at) for one in kept.attempts),
        session=2,
    )
    events = [Happening(told.document.started_at, "STAGE_REUSED", {"stage": "route", "cycle": 1})]

    root = trace_of(replace(told, passes=(*told.passes, again)), (), events)

    assert [(step.session, step.reused) for step in root.children if step.name == "route"] == [(1, True), (2, False)]


def test_a_request_of_an_earlier_session_is_no_cause(sample: Sample) -> None:
    """What became of the document since was not its doing."""
    cut_off_review(sample, "session")
    sample.sql(
        "DELETE FROM attempts WHERE document_id = '1' AND session = 2",
        "UPDATE documents SET outcome = 'failed', error_code = 'stage_failed', error = 'no' WHERE document_id = '1'",
    )

    assert [(one.kind, one.code) for one in causes_of(story(sample, "1"), [])] == [("document", "stage_failed")]


def test_spans_that_go_round_in_a_circle_do_not_hold_us(sample: Sample) -> None:
    """A damaged file is no reason to hang."""
    told = story(sample, "1")
    at = datetime.now(UTC)
    circle = [
        Span("a", "t", "b", "agent", "A", at, at, None),
        Span("b", "t", "a", "agent", "B", at, at, None),
        Span("c", "t", "c", None, "", at, at, None),
    ]

    root = trace_of(told, circle)

    assert len([step for step in all_of(root) if step.kind == "attempt"]) == len(told.attempts)


def test_an_agent_that_asked_nothing_is_in_the_pass_it_began_in(sample: Sample) -> None:
    """A guardrail may stop it before its first request."""
    told = story(sample, "1")
    last = told.passes[-1]
    at = last.started_at + timedelta(milliseconds=1)

    root = trace_of(told, [Span("x", "t", None, "guardrail", "no empty text", at, at, "tripped")])

    found = next(step for step in all_of(root) if step.kind == "guardrail")
    assert found in root.children[-1].children
    assert (root.children[-1].name, found.outcome, found.error) == (last.stage, "failed", "tripped")


def test_a_pruned_tree_keeps_what_leads_to_what_is_kept(sample: Sample) -> None:
    """Without its place a failure says little."""
    with open_reader(sample.run.ledger) as ledger:
        failed = next(row.attempt for row in ledger.attempts() if row.attempt.outcome == "failed")

    kept = pruned(
        tree(sample, failed.document_id or ""), lambda step: step.outcome == "failed" and step.attempt is not None
    )

    assert kept is not None
    kinds = [step.kind for step in all_of(kept)]
    assert list(dict.fromkeys(kinds)) == ["document", "stage", "agent", "call", "attempt"]
    assert all(step.outcome == "failed" for step in all_of(kept) if step.attempt is not None)
    assert pruned(kept, lambda step: step.name == "nothing") is None


def test_spans_are_those_of_their_trace_and_group_none(sample: Sample) -> None:
    """The SDK's own groups and its requests are told elsewhere."""
    every = spans_of(sample.run.sdk_traces, None)
    told = story(sample, "2")

    assert every[told.document.trace_id or ""] == spans(sample, told)
    assert {one.kind for one in spans(sample, told)} == {None, "agent"}
    assert spans_of(sample.run.path / "nothing.jsonl", None) == {}


def test_broken_lines_cost_themselves_only(sample: Sample) -> None:
    """What is wrong with a file is `verify`'s business."""
    whole = [one.event for one in happenings_of(sample.run.events, "1")]
    sample.edit(
        sample.run.events, lambda lines: ["{\n", '{"at":"x","event":"REVIEW","document_id":"1"}\n', *lines, '{"at']
    )
    sample.edit(sample.run.sdk_traces, lambda lines: ["nonsense\n", '{"object":"trace.span"}\n', *lines])

    assert [one.event for one in happenings_of(sample.run.events, "1")] == whole
    assert len(spans(sample, story(sample, "1"))) > 3
    assert list(happenings_of(sample.run.path / "gone.jsonl", "1")) == []


def test_events_are_found_by_name_and_by_document_only(sample: Sample) -> None:
    """An id that stands in another field, or begins alike, is not meant."""
    line = {"at": "2026-01-01T00:00:00Z", "event": "NOTE", "document_id": "22", "note": '"document_id":"2" REVIEW'}
    sample.edit(sample.run.events, lambda lines: [*lines, json.dumps(line, separators=(",", ":")) + "\n"])

    assert {one.values["document_id"] for one in happenings_of(sample.run.events, "2")} == {"2"}
    assert {one.event for one in happenings_named(sample.run.events, ("REVIEW", "REWORK"))} == {"REVIEW", "REWORK"}


@pytest.mark.parametrize("document_id", ["naïve", "a\u2028b", 'q"uote', "back\\slash"])
def test_any_id_is_found_in_the_events(sample: Sample, document_id: str) -> None:
    """Writers escape what they have to, each in its way."""
    for ascii_ in (True, False):
        line = json.dumps(
            {"at": "2026-01-01T00:00:00Z", "event": "NOTE", "document_id": document_id},
            ensure_ascii=ascii_,
            separators=(",", ":"),
        )
        sample.edit(sample.run.events, lambda _, line=line: [line.replace("\u2028", "\\u2028") + "\n"])  # type: ignore[misc]

        assert [one.event for one in happenings_of(sample.run.events, document_id)] == ["NOTE"]


def test_causes_go_from_the_document_to_its_last_request(sample: Sample) -> None:
    """The nearest first; of the reviewer its last word only."""
    links = causes_of(story(sample, "3"), list(happenings_of(sample.run.events, "3")))

    assert [(one.kind, one.place, one.code) for one in links] == [
        ("document", "review", "rejected"),
        ("reviewer", "review, cycle 3", None),
    ]
    assert "marked as a defect" in links[1].text


def test_a_document_that_ended_well_has_no_causes(sample: Sample) -> None:
    """What was mended on the way is in its tree."""
    assert causes_of(story(sample, "2"), list(happenings_of(sample.run.events, "2"))) == []


def test_waits_are_added_up_by_whose_they_are(sample: Sample) -> None:
    """The longest sum first."""
    with open_reader(sample.run.ledger) as ledger:
        attempts = [row.attempt for row in ledger.attempts()]
        summed = list(ledger.waits())

    assert list(waits_of(attempts)) == pytest.approx(summed)
    assert {CAUSES[one.reason].owner for one in summed} == {"our retry policy"}


def test_of_a_call_s_errors_the_last_one_is_told_first(sample: Sample) -> None:
    """It is the nearest; an error that came twice is told once."""
    with open_reader(sample.run.ledger) as ledger:
        asked = next(row.attempt for row in ledger.attempts() if row.attempt.stage == "route")
    sample.sql("UPDATE documents SET error_code = 'connection_lost', error = 'gave up' WHERE document_id = '1'")
    known = story(sample, "1")
    attempts = [
        replace(asked, attempt_id=f"a{n}", outcome="failed", number=n, error_code=code, error=code, call_id="c")
        for n, code in enumerate(("server_error", "server_error", "connection_lost"), start=1)
    ]
    told = replace(known, passes=(StagePass("route", 1, None, tuple(attempts), 1),))

    links = causes_of(told, [])

    assert [(one.kind, one.place, one.code) for one in links] == [
        ("document", "", "connection_lost"),
        ("attempt", "route, attempt 3", "connection_lost"),
        ("attempt", "route, attempt 2", "server_error"),
    ]
