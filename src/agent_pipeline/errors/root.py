"""What all errors share: one class above them, a stable code, what the run should do; and how they word a ladder."""

from collections.abc import Mapping
from typing import ClassVar, Literal

Unsuited = Literal["context_length", "refused"]
"""Why a model can't answer a request that another one might: it is too long for it, or a filter is against it."""

Disposition = Literal["retry", "fail_document", "fail_run"]
"""What the run does: try the attempt again, give this document up, or stop admitting work and end the run."""


class AgentPipelineError(Exception):
    """Base of all errors of this package; `code` is stable, the message says what happened, where and what to do."""

    code: ClassVar[str] = "error"
    disposition: ClassVar[Disposition] = "fail_document"


def rungs_left(left: Mapping[str, float] | None) -> str:
    """Return what a report of a timeout says of the other rungs."""
    told = ", ".join(f"{seconds:.1f} s of the {name} timeout" for name, seconds in (left or {}).items())
    return f" ({told} left)" if told else ""
