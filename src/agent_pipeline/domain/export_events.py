"""Events of what a run sends elsewhere."""

from dataclasses import dataclass

from agent_pipeline.domain.events import Event


@dataclass(frozen=True, slots=True)
class ExportFailed(Event):
    """Spans did not reach the OTLP endpoint; told once, at the first loss, and `count` is as of then."""

    name = "EXPORT_FAILED"
    level = "warning"
    endpoint: str
    count: int
    reason: str
