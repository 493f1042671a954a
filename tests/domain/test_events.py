"""Events: words of their own, values that do not change, and nothing that a sink would have to guess."""

import dataclasses
from datetime import UTC, datetime

import pytest

from agent_pipeline.domain import events, limit_events
from agent_pipeline.domain.document import JsonValue, Outcome
from agent_pipeline.domain.events import AttemptFinished, Event, StageMessage
from agent_pipeline.domain.usage import AttemptRecord

KINDS = [
    kind
    for kind in {**vars(events), **vars(limit_events)}.values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]
CONTRACT = {
    "OPENAI_CLIENT",
    "OPENAI_CLIENT skip",
    "DOCUMENT_STARTED",
    "STAGE_STARTED",
    "ATTEMPT",
    "STAGE_FINISHED",
    "REVIEW",
    "DOCUMENT_FINISHED",
    "PIPELINE_FAILURE",
    "PIPELINE_FINISHED",
}

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_the_documented_words_are_there_and_no_word_is_used_twice() -> None:
    """Scripts look for them; two events of one word could not be told apart."""
    names = [kind.name for kind in KINDS]

    assert set(names) >= CONTRACT
    assert len(set(names)) == len(names)
    assert Event.name not in names


@every_kind
def test_an_event_is_a_frozen_record_of_its_fields(kind: type[Event]) -> None:
    """It is read later, on another thread: word and level belong to the class, the rest can't be replaced."""
    own = {field.name for field in dataclasses.fields(kind)}
    bare = object.__new__(kind)

    assert own
    assert not own & {"name", "level"}
    assert kind.level in {"debug", "info", "warning", "error"}
    assert not hasattr(bare, "__dict__")
    for name in own:
        with pytest.raises(AttributeError):
            setattr(bare, name, "other")


@every_kind
def test_an_event_holds_values_that_sinks_can_write(kind: type[Event]) -> None:
    """Texts, numbers, lists and mappings of them; the one record inside an event is an attempt's."""
    plain = {
        str,
        int,
        float,
        bool,
        str | None,
        int | None,
        float | None,
        list[str],
        dict[str, JsonValue],
        JsonValue,
        Outcome,
    }

    assert {field.type for field in dataclasses.fields(kind)} <= plain | {AttemptRecord}


def test_messages_of_two_stages_do_not_share_their_values() -> None:
    """A default that is one object for all would let one stage write into another's event."""
    first, second = StageMessage("A", "1", "s"), StageMessage("B", "2", "s")

    first.values["seen"] = True

    assert second.values == {}


def test_an_attempt_is_carried_as_it_was_recorded() -> None:
    """Ledger, log and events show the same attempt."""
    record = AttemptRecord(
        attempt_id="a",
        document_id=None,
        stage=None,
        cycle=None,
        role="r",
        provider="p",
        model="m",
        number=1,
        sent=False,
        outcome="cancelled",
        status_code=None,
        error_code=None,
        error=None,
        wait_seconds=0.0,
        wait_reason=None,
        latency_seconds=0.0,
        usage=None,
        reserved_tokens=0,
        charged_tokens=0,
        cost_micro_usd=None,
        provider_request_id=None,
        method="POST",
        path="/",
        started_at=datetime(2026, 11, 20, tzinfo=UTC),
    )

    assert AttemptFinished(record).attempt is record
