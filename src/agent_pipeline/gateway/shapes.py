"""What answers of the two APIs look like, as far as anybody reads them; all else is passed over.

The OpenAI client builds its objects without looking. What is not checked here comes out of it, or of the Agents SDK,
as an AttributeError.
"""

from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from agent_pipeline.config.misfit import first_misfit
from agent_pipeline.errors import ModelProtocolError

_SNIPPET = 120


class Shape(BaseModel):
    """As much of an answer as is read; the rest is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


ShapeT = TypeVar("ShapeT", bound=Shape)


def read_shape(shape: type[ShapeT], text: str | bytes) -> ShapeT:
    """Read JSON into a shape.

    Raises:
        ModelProtocolError: not JSON (in UTF-8, no lone surrogates, not deeper than 200), or of another shape.
    """
    try:
        return shape.model_validate_json(text)
    except ValidationError as exc:
        place, why = first_misfit(exc)
        problem = f"{place}: {why}" if place else why
        raise ModelProtocolError(f"the answer is not what the API promises ({problem}): {snippet(text)}") from None


def snippet(text: str | bytes) -> str:
    """Return how a text begins, fit for a message."""
    start = text[: 4 * _SNIPPET]
    shown = start if isinstance(start, str) else start.decode("utf-8", "replace")
    return repr(shown[:_SNIPPET])


class Counted(Shape):
    """Any answer: an object that may say what it used."""

    usage: object = None


# --- Responses API -----------------------------------------------------------------------------------------------


class Part(Shape):
    """A piece of a message."""

    type: str
    text: str | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def _has_its_text(self) -> Self:
        if self.type == "output_text" and self.text is None:
            raise ValueError("text is missing")
        return self


class Item(Shape):
    """One thing the model put out: a message, a tool call, its reasoning."""

    type: str
    content: list[Part] | None = None
    name: object = None
    arguments: object = None
    call_id: object = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.type == "message" and self.content is None:
            raise ValueError("content is missing")
        if self.type == "function_call":
            parts = {"name": self.name, "arguments": self.arguments, "call_id": self.call_id}
            missing = [name for name, value in parts.items() if not isinstance(value, str)]
            if missing:
                raise ValueError(f"{', '.join(missing)} missing")
        return self

    @property
    def says_something(self) -> bool:
        """Whether there is text, or anything that is neither a message nor reasoning."""
        if self.type != "message":
            return self.type != "reasoning"
        return any(part.text or part.refusal for part in self.content or ())


class IncompleteDetails(Shape):
    """Why the model stopped."""

    reason: str | None = None


class ResponseShape(Counted):
    """An answer of the Responses API."""

    status: str | None = None
    error: object = None
    incomplete_details: IncompleteDetails | None = None
    output: list[Item] | None = None


class ResponseEvent(Shape):
    """One event of a streamed response."""

    type: str
    response: ResponseShape | None = None
    error: object = None
    code: object = None
    message: object = None


# --- Chat Completions API ----------------------------------------------------------------------------------------


class Function(Shape):
    """The function a call names; a stream gives it in pieces."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Shape):
    """A call of a tool."""

    function: Function | None = None


class ChatMessage(Shape):
    """What the model says, whole or a piece of it."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: object = None

    @property
    def calls_are_whole(self) -> bool:
        """Whether each function that is called has its name and arguments."""
        functions = [call.function for call in self.tool_calls or () if call.function is not None]
        return not any(function.name is None or function.arguments is None for function in functions)

    @property
    def says_something(self) -> bool:
        """Whether there is text, sound or a call."""
        return bool(self.content or self.tool_calls or self.function_call or self.audio)


class Choice(Shape):
    """One of the answers asked for; a stream gives deltas, a plain answer a message."""

    finish_reason: str | None = None
    message: ChatMessage | None = None
    delta: ChatMessage | None = None


class Completion(Counted):
    """An answer of the Chat Completions API, or one event of a streamed one."""

    error: object = None
    choices: list[Choice] | None = None
