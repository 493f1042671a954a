"""The budgets of a run as its files set them, less what earlier sessions spent; and what passes its worst case."""

from agent_pipeline import gateway as gateways
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.control.budget import Caps, RunBudget
from agent_pipeline.domain.limit_events import UsageAboveBound
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.usage import AttemptRecord, Spending
from agent_pipeline.ledger import Session


def run_budget(config: PipelineConfig, session: Session) -> RunBudget:
    """Return the run's budget, and those of the roles that have one, as this session finds them."""
    spent = Spending(session.charged_tokens, session.unknown_tokens, session.charged_micro_usd)
    return gateways.make_budget(config.limits, config.runtime, spent=spent, spent_by_role=session.roles)


class Overruns:
    """Tells, once per role and model, that more was charged than had been reserved: a cap may be passed by it.

    Args:
        emit: takes events.
        budget: of the run.
        of_document: what each document may use.
    """

    def __init__(self, emit: Emit, budget: RunBudget, of_document: Caps) -> None:
        self._emit = emit
        self._budget = budget
        self._of_document = of_document
        self._told: set[tuple[str, str, str]] = set()

    def look_at(self, attempt: AttemptRecord) -> None:
        """Take an attempt that ended; where no cap concerns it, an answer may have any length."""
        key = attempt.role, attempt.provider, attempt.model
        if attempt.charged_tokens <= attempt.reserved_tokens or key in self._told or not self._is_capped(attempt.role):
            return
        self._told.add(key)
        self._emit(UsageAboveBound(*key, attempt.document_id, attempt.reserved_tokens, attempt.charged_tokens))

    def _is_capped(self, role: str) -> bool:
        of_run = Caps(self._budget.tokens.statistics().total, self._budget.micro_usd.statistics().total)
        return of_run.exist or self._of_document.exist or role in self._budget.roles


def caps_of_document(config: PipelineConfig) -> Caps:
    """Return what each document may use."""
    caps = config.limits.budget_per_document
    return Caps(caps.tokens, caps.micro_usd)
