"""The ports: what takes events for the pipeline is told by its shape alone."""

from agent_pipeline.domain.events import DocumentSizeWarning, Event
from agent_pipeline.domain.ports import Emit


def test_a_lists_append_takes_events() -> None:
    """A port is a shape: no base class to inherit, nothing to register (the type checkers look at this line)."""
    seen: list[Event] = []
    emit: Emit = seen.append

    emit(DocumentSizeWarning("1", 2))

    assert seen == [DocumentSizeWarning("1", 2)]
