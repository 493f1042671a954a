"""An error of ours on its way between processes: its class, its words, its plain attributes, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from agent_pipeline import errors
from agent_pipeline.errors import AgentPipelineError

_PLAIN = (type(None), bool, int, float, str, tuple)


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error as it travels. Causes and tracebacks stay where it was raised: they may hold sockets, keys, locals.

    >>> from agent_pipeline.errors import BudgetExceededError
    >>> error = ErrorRecord.of(BudgetExceededError("used up", dimension="tokens")).revived()
    >>> type(error).__name__, str(error), error.dimensions
    ('BudgetExceededError', 'used up', ('tokens',))
    """

    kind: str
    text: str
    attributes: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: AgentPipelineError) -> Self:
        """Write an error down; attributes that are no plain values are left out."""
        plain = {name: value for name, value in vars(error).items() if isinstance(value, _PLAIN)}
        return cls(type(error).__name__, str(error), plain)

    def revived(self) -> AgentPipelineError:
        """Return an error of the same class that says the same; the base class where this version has none such."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, AgentPipelineError)):
            return AgentPipelineError(self.text)
        error = kind.__new__(kind, self.text)
        error.args = (self.text,)
        vars(error).update(self.attributes)
        return error
