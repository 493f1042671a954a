"""What `doctor` finds: a line each, as it is shown."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from agent_pipeline.amounts import counted, listed
from agent_pipeline.cli.layout import paragraph

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: a `problem` is in the way of a run, a `warning` may be.
        what: was looked at.
        text: what was found.
        todo: about it; empty where it is well.
    """

    state: State
    what: str
    text: str
    todo: str = ""

    def as_object(self) -> dict[str, object]:
        """Return it for programs."""
        return asdict(self)


def finding_lines(findings: Sequence[Finding], width: int | None) -> Iterator[str]:
    """Yield a line for each, with the advice below it, and what it comes to in the end."""
    for one in findings:
        head = f"{one.state:<9}{one.what:<12}"
        first, *others = paragraph(one.text, width, " " * len(head))
        yield f"{head}{first[len(head) :]}"
        yield from others
        if one.todo:
            yield from paragraph(f"to do: {one.todo}", width, " " * len(head))
    counts = [(sum(one.state == state for one in findings), state) for state in ("problem", "warning")]
    told = [counted(count, state) for count, state in counts if count]
    yield f"{'nothing is in the way of a run' if not counts[0][0] else 'something is in the way of a run'}" + (
        f": {listed(told)}" if told else ""
    )
