"""A document's story has all that the ledger holds of it, and nothing of others."""

import pytest
from tests.runs.sample import Sample, cut_off_review

from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.story import DocumentStory, LeftBy, stories, story_of


def told(sample: Sample) -> list[DocumentStory]:
    with open_reader(sample.run.ledger) as ledger:
        return list(stories(ledger))


def test_stories_divide_the_ledger_among_the_documents(sample: Sample) -> None:
    """Each request and each result is told once."""
    with open_reader(sample.run.ledger) as ledger:
        attempts = [row.attempt.attempt_id for row in ledger.attempts()]
        results = {(row.document_id, row.stage, row.cycle) for row in ledger.stage_results()}

    found = told(sample)

    assert sorted(one.attempt_id for story in found for one in story.attempts) == sorted(attempts)
    assert {
        (story.document.document_id, one.stage, one.cycle) for story in found for one in story.passes if one.result
    } == results


def test_passes_come_in_the_order_they_began(sample: Sample) -> None:
    """Rework goes back and forth between two stages."""
    second = next(story for story in told(sample) if story.document.document_id == "2")

    passes = [(one.stage, one.cycle) for one in second.passes]

    assert passes[:5] == [("route", 1), ("transform", 1), ("review", 1), ("transform", 2), ("review", 2)]


def test_attempts_of_one_call_are_together(sample: Sample) -> None:
    """The retry after a 500 belongs to the request it repeats; two of them were sent."""
    calls = [call for story in told(sample) for one in story.passes for call in one.calls]

    numbers = [[one.number for one in call] for call in calls]

    assert numbers == [list(range(1, len(call) + 1)) for call in calls]
    assert sum(map(len, calls)) == len(calls) + 2


@pytest.mark.parametrize(("by", "sessions"), [("session", [1, 2]), ("worker", [1, 1])])
def test_what_was_cut_off_is_a_pass_of_its_own(sample: Sample, by: LeftBy, sessions: list[int]) -> None:
    """Under the pass that was made later its requests would look as if that one had made them."""
    cut_off_review(sample, by)

    (story,) = [one for one in told(sample) if one.document.document_id == "1"]

    left, made = [one for one in story.passes if one.stage == "review"]
    assert [one.attempt_id for one in left.attempts] == ["cut-off"]
    assert "cut-off" not in {one.attempt_id for one in made.attempts}
    assert [left.session, made.session] == sessions
    assert (left.result, left.left_by, made.left_by) == (None, by, None)
    assert made.result is not None
    assert [one.stage for one in story.passes] == ["route", "transform", "review", "review", "name", "remark"]


def test_what_the_last_session_has_not_ended_is_left_by_nobody(sample: Sample) -> None:
    """It may still come to a result; and requests of no stage never have one."""
    cut_off_review(sample, "session")
    sample.sql(
        "DELETE FROM stage_results WHERE document_id = '1' AND stage = 'name'",
        "UPDATE attempts SET stage = NULL, cycle = NULL WHERE document_id = '1' AND stage = 'route'",
    )

    (story,) = [one for one in told(sample) if one.document.document_id == "1"]

    assert [(one.stage, one.session, one.left_by) for one in story.passes if one.result is None] == [
        (None, 1, None),
        ("review", 1, "session"),
        ("name", 2, None),
    ]


def test_a_document_that_is_not_there_is_none(sample: Sample) -> None:
    """Not an error of the reader: who asked knows what to say."""
    with open_reader(sample.run.ledger) as ledger:
        assert ledger.document("404") is None
        known = ledger.document("1")
        assert known is not None
        assert story_of(ledger, known).document.outcome == "succeeded"
