"""What a request asks for, in one shape for both APIs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_object, as_text, dumps, loads
from agent_pipeline.simulator.wire import BadRequestError

HANDOFF_PREFIX: Final = "transfer_to_"
BYTES_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function the caller offers."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool that was called before returned; `name` is empty where the call itself is not in the input."""

    name: str
    output: str


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether a tool is to be called: `name` forces one, `allowed` narrows the choice."""

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, understood.

    Attributes:
        body: the request as it was sent, for what the reply echoes.
        user_texts: what the user side said, in order.
        other_texts: instructions and the messages of every other role.
        schema: the JSON schema the answer must satisfy; None for plain text.
        json_mode: any JSON object is wanted (`json_object`).
        output_cap: most output tokens allowed, None for no cap.
        counted_tokens: those that were sent as numbers and not as text.
    """

    model: str
    body: JsonObject
    stream: bool = False
    include_usage: bool = False
    user_texts: tuple[str, ...] = ()
    other_texts: tuple[str, ...] = ()
    schema: JsonObject | None = None
    strict: bool = False
    json_mode: bool = False
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    tool_outputs: tuple[ToolOutput, ...] = ()
    output_cap: int | None = None
    counted_tokens: int = 0

    def input_tokens(self) -> int:
        """Return how many tokens the request is billed for."""
        return count_tokens(*self.texts()) + self.counted_tokens

    def texts(self) -> list[str]:
        """Return every text of the request that a model would read."""
        outputs = [output.output for output in self.tool_outputs]
        offered = [dumps(tool) for tool in as_list(self.body.get("tools"))]
        schema = [dumps(self.schema)] if self.schema is not None else []
        return [*self.other_texts, *self.user_texts, *outputs, *offered, *schema]

    def says(self, words: str) -> bool:
        """Whether a message or instruction contains these words."""
        return any(words in text for text in (*self.user_texts, *self.other_texts))


def count_tokens(*texts: str) -> int:
    """Return a deterministic count: the UTF-8 bytes by four, rounded up; never more than the bytes themselves."""
    total = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return -(-total // BYTES_PER_TOKEN)


def parse_body(body: bytes) -> JsonObject:
    """Return the JSON object a request carries.

    Raises:
        BadRequestError: it is not a JSON object.
    """
    try:
        value = loads(body)
    except ValueError as exc:
        raise BadRequestError(f"We could not parse the JSON body of your request: {exc}") from exc
    if not isinstance(value, dict):
        raise BadRequestError("The body of the request must be a JSON object.")
    return value


def responses_ask(body: JsonObject) -> Ask:
    """Understand the body of `POST /v1/responses`."""
    spoken = body.get("input")
    if not isinstance(spoken, str | list):
        raise missing("input") if spoken is None else invalid("input", "a text or a list of items")
    items: list[JsonValue] = [{"role": "user", "content": spoken}] if isinstance(spoken, str) else spoken
    ask = _common(body, "max_output_tokens")
    names: dict[str, str] = {}
    outputs: list[ToolOutput] = []
    for item in map(as_object, items):
        if item.get("type") == "function_call":
            names[as_text(item.get("call_id"))] = as_text(item.get("name"))
        elif item.get("type") == "function_call_output":
            name = names.get(as_text(item.get("call_id")), "")
            outputs.append(ToolOutput(name, _content_text(item.get("output"))))
    wanted = as_object(as_object(body.get("text")).get("format"))
    return replace(
        _with_schema(_with_messages(ask, items, as_text(body.get("instructions"))), wanted, wanted),
        tools=_tools(body, lambda tool: tool),
        tool_choice=_tool_choice(body.get("tool_choice"), lambda choice: choice),
        tool_outputs=tuple(outputs),
    )


def chat_ask(body: JsonObject) -> Ask:
    """Understand the body of `POST /v1/chat/completions`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise missing("messages") if messages is None else invalid("messages", "a list with at least one message")
    if body.get("n") not in (None, 1):
        raise BadRequestError("The simulator answers with one choice; leave out 'n'.", param="n")
    ask = _common(body, "max_completion_tokens", "max_tokens")
    names: dict[str, str] = {}
    outputs: list[ToolOutput] = []
    for message in map(as_object, messages):
        for call in map(as_object, as_list(message.get("tool_calls"))):
            names[as_text(call.get("id"))] = as_text(as_object(call.get("function")).get("name"))
        if message.get("role") == "tool":
            name = names.get(as_text(message.get("tool_call_id")), "")
            outputs.append(ToolOutput(name, _content_text(message.get("content"))))
    spoken = [message for message in messages if as_object(message).get("role") != "tool"]
    wanted = as_object(body.get("response_format"))
    return replace(
        _with_schema(_with_messages(ask, spoken, ""), wanted, as_object(wanted.get("json_schema"))),
        include_usage=as_object(body.get("stream_options")).get("include_usage") is True,
        tools=_tools(body, lambda tool: as_object(tool.get("function"))),
        tool_choice=_tool_choice(
            body.get("tool_choice"),
            lambda choice: as_object(choice.get("function")) or as_object(choice.get("allowed_tools")),
        ),
        tool_outputs=tuple(outputs),
    )


def missing(param: str) -> BadRequestError:
    """Return the refusal of a request that lacks a parameter."""
    return BadRequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid(param: str, wanted: str) -> BadRequestError:
    """Return the refusal of a request with a parameter of the wrong kind."""
    return BadRequestError(f"Invalid value for '{param}': expected {wanted}.", param=param, code="invalid_type")


def model_of(body: JsonObject) -> str:
    """Return the model that is asked.

    Raises:
        BadRequestError: none is, or not by name.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise missing("model") if not model else invalid("model", "a text")
    return as_text(model)


def _common(body: JsonObject, *cap_names: str) -> Ask:
    model = model_of(body)
    if body.get("stream") not in (None, True, False):
        raise invalid("stream", "true or false")
    cap: int | None = None
    for name in cap_names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise invalid(name, "a whole number, at least 1")
        cap = value if cap is None else min(cap, value)
    return Ask(model=model, body=body, stream=body.get("stream") is True, output_cap=cap)


def _content_text(content: JsonValue) -> str:
    if isinstance(content, list):
        return "\n".join(filter(None, (as_text(as_object(part).get("text")) for part in content)))
    return as_text(content)


def _with_messages(ask: Ask, items: Sequence[JsonValue], instructions: str) -> Ask:
    user: list[str] = []
    other: list[str] = [instructions] if instructions else []
    for item in map(as_object, items):
        text = _content_text(item.get("content"))
        if text:
            (user if item.get("role") == "user" else other).append(text)
    return replace(ask, user_texts=tuple(user), other_texts=tuple(other))


def _with_schema(ask: Ask, wanted: JsonObject, holder: JsonObject) -> Ask:
    if wanted.get("type") != "json_schema":
        return replace(ask, json_mode=wanted.get("type") == "json_object")
    schema = holder.get("schema")
    if not isinstance(schema, dict):
        raise invalid("schema", "a JSON schema")
    return replace(ask, schema=schema, strict=holder.get("strict") is True)


def _tools(body: JsonObject, definition: Callable[[JsonObject], JsonObject]) -> tuple[FunctionTool, ...]:
    found = []
    for tool in map(as_object, as_list(body.get("tools"))):
        if tool.get("type") != "function":
            continue
        function = definition(tool)
        name = as_text(function.get("name"))
        if not name:
            raise missing("tools[].name")
        strict = function.get("strict") is True
        parameters = as_object(function.get("parameters"))
        found.append(FunctionTool(name, as_text(function.get("description")), parameters, strict))
    return tuple(found)


def _tool_choice(choice: JsonValue, inner: Callable[[JsonObject], JsonObject]) -> ToolChoice:
    if choice == "none":
        return ToolChoice("none")
    if choice == "required":
        return ToolChoice("required")
    if not isinstance(choice, dict):
        return ToolChoice()
    detail = inner(choice)
    if choice.get("type") == "function":
        return ToolChoice("required", name=as_text(detail.get("name")))
    if choice.get("type") == "allowed_tools":
        names = (as_text((inner(tool) or tool).get("name")) for tool in map(as_object, as_list(detail.get("tools"))))
        mode: Literal["auto", "required"] = "required" if detail.get("mode") == "required" else "auto"
        return ToolChoice(mode, allowed=frozenset(names))
    return ToolChoice()
