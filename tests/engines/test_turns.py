"""Batches of reports, cut so that nobody is told of more documents than a worker had."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.engines.pretended import AT, record

from agent_pipeline.domain.events import SdkTraceItem, StageStarted
from agent_pipeline.engines.driver.turns import in_turns
from agent_pipeline.engines.messages import Alive, Attempted, Began, Ended, Fence, Happened, Report

FENCE = Fence(1, 1)


def ended(name: str, *, unopened: bool = False) -> Ended:
    """Return the end of a document."""
    return Ended(FENCE, 1, name, None, "succeeded", None, None, Counter(), Counter(), unopened=unopened)


def name_of(report: Report) -> str:
    """Return the document that begins or ends."""
    assert isinstance(report, Began | Ended)
    return report.document_id


@given(places=st.integers(1, 4), choices=st.lists(st.integers(0, 100), max_size=60))
def test_no_more_are_in_flight_in_any_turn_than_in_the_worker(places: int, choices: list[int]) -> None:
    """Of a turn all beginnings come before all ends; what concerns one document stays in order, and nothing is lost."""
    batch: list[Report] = []
    open_ones = [f"before {number}" for number in range(places)]
    for number, choice in enumerate(choices):
        if len(open_ones) == places or (open_ones and choice % 2):
            batch.append(ended(open_ones.pop(choice % len(open_ones))))
        else:
            open_ones.append(str(number))
            batch.append(Began(FENCE, str(number), "", ""))

    turns = in_turns(batch)

    in_flight = places
    for turn in turns:
        in_flight += sum(isinstance(one, Began) for one in turn)
        assert in_flight <= places
        in_flight -= sum(isinstance(one, Ended) for one in turn)
    taken = [one for turn in turns for one in turn]
    assert sorted(map(repr, taken)) == sorted(map(repr, batch))
    assert in_flight == len(open_ones)
    for name in set(map(name_of, batch)):
        assert [one for one in taken if name_of(one) == name] == [one for one in batch if name_of(one) == name]


def test_all_that_is_said_of_a_document_is_in_its_turn() -> None:
    """Nothing of it is on record before its beginning is; what concerns none waits for nobody."""
    attempt = Attempted(FENCE, record("1", "b", "first"))
    stage = Happened(StageStarted("b", "first", 1), AT)
    trace = Happened(SdkTraceItem('{"object":"trace","metadata":{"document_id":"b"}}'), AT)
    span = Happened(SdkTraceItem('{"object":"trace.span"}'), AT)
    began = Began(FENCE, "b", "", "")

    batch: list[Report] = [ended("a"), began, trace, stage, attempt, span, Alive()]

    assert in_turns(batch) == [[batch[0], span, batch[-1]], [began, trace, stage, attempt]]


def test_what_was_never_opened_had_no_place() -> None:
    """A skipped entry is at its end as it begins, and holds nobody back."""
    batch: list[Report] = [ended("a", unopened=True), Began(FENCE, "b", "", "")]

    assert in_turns(batch) == [batch]
