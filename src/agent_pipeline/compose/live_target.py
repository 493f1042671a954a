"""The parts of a run that live values change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.engines.engine import Engine
from agent_pipeline.pipeline.identity import stage_identity
from agent_pipeline.pipeline.stage import PlannedStage


@dataclass(frozen=True, slots=True)
class RunTarget:
    """Hands new values to the parts of an open run.

    Attributes:
        fit: how many documents at once this process may have of those wanted; says so where it is fewer.
    """

    runtime: Runtime
    engine: Engine
    stages: Sequence[PlannedStage]
    fit: Callable[[int], int]

    def set_documents_in_flight(self, count: int) -> None:
        """Admit at most so many documents at once, as far as they fit."""
        self.engine.set_in_flight(self.fit(count))

    def set_limits(
        self, *, requests_in_flight: tuple[int, int], requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> None:
        """Bound requests at once and per minute, and tokens per minute, at every provider and model."""
        self.runtime.gate.set_limits(
            requests_in_flight=requests_in_flight,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )

    def set_attempt_timeout(self, seconds: float | None) -> None:
        """Bound attempts that begin from now on."""
        self.runtime.gate.set_attempt_timeout(seconds)

    def set_budget(self, *, tokens: int | None, micro_usd: int | None) -> None:
        """Cap what the run may spend in all."""
        self.runtime.gate.set_budget(tokens=tokens, micro_usd=micro_usd)

    def set_roles(self, runtime: RuntimeConfig) -> None:
        """Let documents that begin from now on ask these models; what stages are made by is found out anew."""
        gateway = self.runtime.gateway.revised(runtime)
        self.runtime.itinerary.revise(
            fingerprints={planned.stage.name: stage_identity(planned, runtime) for planned in self.stages},
            bridge=self.runtime.bridge.revised(gateway.role),
        )
