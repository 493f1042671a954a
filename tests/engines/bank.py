"""A lessor of budgets with some workers that have joined, without time or network."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from tests.control.world import BEGIN

from agent_pipeline.control.budget import BudgetStatistics, Caps, RunBudget
from agent_pipeline.domain.usage import AttemptOutcome, AttemptRecord, Usage
from agent_pipeline.engines.leases.budget_lessor import BudgetLessor
from agent_pipeline.engines.messages import Amount, Grant, Heard, LeaseWanted, Recall

SENT = AttemptRecord(
    attempt_id="a",
    document_id="d",
    stage=None,
    cycle=None,
    role="writer",
    provider="openai",
    model="tiny",
    number=1,
    sent=True,
    outcome=None,
    status_code=None,
    error_code=None,
    error=None,
    wait_seconds=0.0,
    wait_reason=None,
    latency_seconds=0.0,
    usage=None,
    reserved_tokens=40,
    charged_tokens=40,
    cost_micro_usd=None,
    provider_request_id=None,
    method="POST",
    path="/v1/responses",
    started_at=BEGIN,
)
"""An attempt as it leaves, which may cost 40 tokens and no known money."""


AnyT = TypeVar("AnyT")


def unframed(command: AnyT) -> AnyT:
    """Return a command without its window: windows have tests of their own."""
    return replace(command, window=Caps()) if isinstance(command, Grant) else command


@dataclass
class Bank:
    """A lessor with workers 1 to `workers`, and what it told them on its own."""

    budget: RunBudget
    workers: int = 2
    told: list[tuple[int, Grant | Heard | Recall]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lessor = BudgetLessor(self.budget, lambda worker, command: self.told.append((worker, unframed(command))))
        for worker in range(1, self.workers + 1):
            self.lessor.join(worker)

    def ask(self, worker: int, number: int, need: int, want: int = 0, *, worst: int | None = None) -> Grant | None:
        """Let a worker ask for tokens of the run."""
        worst_case = Amount(need if worst is None else worst)  # nothing, for one who asks ahead
        answer = self.lessor.want(worker, LeaseWanted(f"#{number}", "", Amount(need), Amount(want), worst_case))
        return None if answer is None else unframed(answer)

    def send(self, worker: int, attempt_id: str, tokens: int, money: int | None = None) -> None:
        """Let a request leave."""
        record = replace(SENT, attempt_id=attempt_id, charged_tokens=tokens, cost_micro_usd=money)
        self.lessor.spent(worker, record)

    def end(self, worker: int, attempt_id: str, tokens: int, *, known: bool = True) -> None:
        """Let one end, with so much charged, reported or not."""
        usage = Usage(tokens, 0) if known else None
        outcome: AttemptOutcome = "succeeded" if known else "failed"
        ended = replace(SENT, attempt_id=attempt_id, outcome=outcome, charged_tokens=tokens, usage=usage)
        self.lessor.spent(worker, ended)

    @property
    def tokens(self) -> BudgetStatistics:
        """The run's tokens."""
        return self.budget.tokens.statistics()
