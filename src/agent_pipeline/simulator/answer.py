"""Decide what to answer: call an offered tool, fill a schema, or quote the document; and count its tokens."""

import re
from dataclasses import dataclass

from agent_pipeline.simulator.composer import compose
from agent_pipeline.simulator.conversation import BYTES_PER_TOKEN, HANDOFF_PREFIX, Ask, FunctionTool, count_tokens
from agent_pipeline.simulator.document_text import find_document
from agent_pipeline.simulator.json_values import dumps
from agent_pipeline.simulator.reading import Reading, words_of
from agent_pipeline.simulator.schema_rules import SchemaUnusableError
from agent_pipeline.simulator.wire import BadRequestError

_REWRITING = re.compile(
    r"\b(?:clean|convert|copy|edit|fix|format|polish|refactor|rewrite|repeat|tidy|transform|translate)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reply will say.

    Attributes:
        text: the message, or the arguments of the call as JSON.
        tool: name of the tool to call, None for a message.
        complete: False where the output cap cut it.
    """

    text: str
    tool: str | None
    complete: bool
    input_tokens: int
    output_tokens: int


def answer_to(ask: Ask) -> Answer:
    """Return the answer to a request.

    Raises:
        BadRequestError: a schema can't be satisfied, or the tool it forces is not offered.
    """
    document, around = find_document(ask.user_texts or ask.other_texts)
    reading = Reading(document, "\n".join((around, *ask.other_texts)), ask.tool_outputs)
    tool = _tool_to_call(ask, around)
    try:
        text = _arguments(tool, reading) if tool else _message(ask, reading)
    except SchemaUnusableError as exc:
        where = f"function '{tool.name}'" if tool else "response_format"
        raise BadRequestError(f"Invalid schema for {where}: {exc}.", code="invalid_json_schema") from exc
    name = tool.name if tool else ""
    text, complete = _capped(text, name, ask.output_cap)
    output_tokens = count_tokens(name, text) if complete else ask.output_cap or 0
    return Answer(text, tool.name if tool else None, complete, ask.input_tokens(), output_tokens)


def _arguments(tool: FunctionTool, reading: Reading) -> str:
    """Return the arguments of a call as JSON."""
    return dumps(compose(tool.parameters or {"type": "object"}, reading, strict=tool.strict), ensure_ascii=False)


def _message(ask: Ask, reading: Reading) -> str:
    if ask.schema is not None:
        return dumps(compose(ask.schema, reading, strict=ask.strict), ensure_ascii=False)
    if ask.json_mode:
        return dumps({"answer": reading.tool_answer or reading.summary, "title": reading.title}, ensure_ascii=False)
    if ask.tool_outputs:
        named = ", ".join(dict.fromkeys(output.name or "the tool" for output in ask.tool_outputs))
        return f"{reading.summary}\n\nAccording to {named}: {reading.tool_answer}"
    if reading.around != reading.source and _REWRITING.search(reading.around.lower()):
        return reading.script if reading.is_code else reading.tidied or reading.summary
    return reading.summary


def _tool_to_call(ask: Ask, around: str) -> FunctionTool | None:
    choice = ask.tool_choice
    offered = [tool for tool in ask.tools if choice.allowed is None or tool.name in choice.allowed]
    if choice.name is not None:
        forced = next((tool for tool in offered if tool.name == choice.name), None)
        if forced is None:
            raise BadRequestError(f"Tool choice '{choice.name}' not found in 'tools' parameter.", param="tool_choice")
        return forced
    called = {output.name for output in ask.tool_outputs}
    handoff = next((tool for tool in offered if _is_asked_for(tool, around) and tool.name not in called), None)
    if choice.mode == "none" or handoff is not None:
        return None if choice.mode == "none" else handoff
    tools = [tool for tool in offered if not tool.name.startswith(HANDOFF_PREFIX)]
    has_output = any(not output.name.startswith(HANDOFF_PREFIX) for output in ask.tool_outputs)
    if choice.mode == "required":
        fresh = [tool for tool in tools if tool.name not in called]
        return _fitting(fresh or tools or offered, around)
    return None if has_output else _fitting(tools, around)


def _is_asked_for(tool: FunctionTool, around: str) -> bool:
    """Whether the input names the agent that a handoff tool leads to."""
    agent = words_of(tool.name.removeprefix(HANDOFF_PREFIX))
    if not tool.name.startswith(HANDOFF_PREFIX) or not agent:
        return False
    return re.search(r"\b" + r"[\W_]*".join(map(re.escape, agent)) + r"\b", around, re.IGNORECASE) is not None


def _fitting(tools: list[FunctionTool], around: str) -> FunctionTool | None:
    """Return the tool whose name and description share most words with the input; the first among equals."""
    said = set(words_of(around[:20_000]))
    scores = [2 * len(said & set(words_of(tool.name))) + len(said & set(words_of(tool.description))) for tool in tools]
    return tools[scores.index(max(scores))] if tools else None


def _capped(text: str, name: str, cap: int | None) -> tuple[str, bool]:
    if cap is None or count_tokens(name, text) <= cap:
        return text, True
    room = max(0, cap * BYTES_PER_TOKEN - len(name.encode("utf-8", "replace")))
    return text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore"), False
