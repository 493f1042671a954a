"""An error of ours on its way between processes: its class, its words, its plain attributes, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from agent_pipeline import errors
from agent_pipeline.errors import AgentPipelineError

_OF_CLASSES = ("code", "disposition")
_PLAIN = (type(None), bool, int, float, str)


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
    def of(cls, error: AgentPipelineError, *, where: str | None = None) -> Self:
        """Write an error down; attributes that are no plain values are left out. `where` is put before its words.

        Of a class that somebody made of one of ours, ours travels, with the code and the disposition of theirs.
        """
        kind = next(one for one in type(error).__mro__ if _ours(one.__name__) is one)
        told = {name: getattr(error, name) for name in _OF_CLASSES if getattr(error, name) != getattr(kind, name)}
        plain = {name: value for name, value in vars(error).items() if _is_plain(value)}
        return cls(kind.__name__, str(error) if where is None else f"{where}: {error}", told | plain)

    def revived(self) -> AgentPipelineError:
        """Return an error of the same class that says the same; the base class where this version has none such."""
        kind = _ours(self.kind) or AgentPipelineError
        error = kind.__new__(kind, self.text)
        error.args = (self.text,)
        vars(error).update(self.attributes)
        return error


def _ours(name: str) -> type[AgentPipelineError] | None:
    """Return the class of ours of this name."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, AgentPipelineError) else None


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))
