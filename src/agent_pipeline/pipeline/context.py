"""What a stage may do: ask a role, run an agent, judge the document, leave a word in the log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from agent_pipeline.domain.document import Document, JsonValue
from agent_pipeline.domain.events import Review, StageMessage
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import StageError

if TYPE_CHECKING:
    from agent_pipeline.bridge import DocumentSession
    from agent_pipeline.gateway import RoleClient

OutputT = TypeVar("OutputT")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reviewing stage thinks of the document."""

    approved: bool
    issues: str
    suggestions: str


class StageContext:
    """One stage's view of the run, for one document and cycle.

    Attributes:
        document_id: whose turn it is.
        stage: the stage's name.
        cycle: 1 for the first pass through this stage; rework adds.
        options: the stage's own options from the config file.
        original: the document as it came from the source, for comparison.
    """

    def __init__(
        self,
        *,
        document_id: str,
        stage: str,
        cycle: int,
        role: str | None,
        options: Mapping[str, JsonValue],
        emit: Emit,
        find_role: "Callable[[str], RoleClient]",
        session: "DocumentSession",
        original: Document,
    ) -> None:
        self.document_id = document_id
        self.stage = stage
        self.cycle = cycle
        self.options = options
        self.original = original
        self.verdict: Verdict | None = None
        self._role = role
        self._emit = emit
        self._find_role = find_role
        self._session = session

    @overload
    async def ask(self, prompt: str, output_type: None = None, *, role: str | None = None) -> str: ...
    @overload
    async def ask(self, prompt: str, output_type: type[OutputT], *, role: str | None = None) -> OutputT: ...
    async def ask(
        self, prompt: str, output_type: type[OutputT] | None = None, *, role: str | None = None
    ) -> OutputT | str:
        """Make one model call; return its text, or a value of `output_type`.

        Args:
            prompt: the user's part; the role's instructions are added.
            output_type: a pydantic model, or anything pydantic can validate.
            role: instead of the stage's own.

        Raises:
            ProviderError: what retries could not cure.
            OutputInvalidError: the answer does not fit.
            BudgetExceededError: the run's budget is used up.

        On cancellation an answer under way is dropped and charged as unknown spend.
        """
        client = self._find_role(self._resolve(role))
        return await client.ask(prompt) if output_type is None else await client.ask(prompt, output_type)

    @overload
    async def run_agent(
        self,
        agent_or_role: object,
        input: str,
        output_type: None = None,
        tools: Sequence[object] = (),
        *,
        max_turns: int = 10,
    ) -> Any: ...  # noqa: ANN401 - the agent's own output type
    @overload
    async def run_agent(
        self,
        agent_or_role: object,
        input: str,
        output_type: type[OutputT],
        tools: Sequence[object] = (),
        *,
        max_turns: int = 10,
    ) -> OutputT: ...
    async def run_agent(
        self,
        agent_or_role: object,
        input: str,  # noqa: A002 - the name users know from the SDK
        output_type: type[OutputT] | None = None,
        tools: Sequence[object] = (),
        *,
        max_turns: int = 10,
    ) -> Any:
        """Run an Agents SDK agent in the document's own loop; return its final output.

        Args:
            agent_or_role: an `agents.Agent` (its `model` names a role), or a role's name.
            input: the user's part.
            output_type: for the final output, instead of the agent's own.
            tools: added to the agent's; plain functions become tools, async ones are Trio functions.
            max_turns: model calls after which the run is given up.

        Raises:
            AgentPipelineError: one of ours, always.

        On cancellation the agent, and what it waits for, is cancelled and awaited.
        """
        return await self._session.run_agent(
            agent_or_role, input, output_type=output_type, tools=tools, max_turns=max_turns
        )

    def review(self, *, approved: bool, issues: str = "", suggestions: str = "") -> None:
        """Give a verdict; where it is not approval, the document goes back to `rework_to` after this stage."""
        self.verdict = Verdict(approved, issues, suggestions)
        self._emit(Review(self.document_id, self.stage, self.cycle, approved, issues, suggestions))

    def log(self, message: str, **values: JsonValue) -> None:
        """Leave a line in the run log; `message` is its upper-case word."""
        self._emit(StageMessage(message, self.document_id, self.stage, values))

    def _resolve(self, role: str | None) -> str:
        resolved = role or self._role
        if resolved is None:
            msg = f"stage {self.stage} asks without a role: give it one with @stage(role=...) or ask(..., role=...)"
            raise StageError(msg)
        return resolved
