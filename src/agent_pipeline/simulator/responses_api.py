"""The Responses API: an answer as a `Response` object or as its stream of events."""

from typing import Final

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.answer import Answer
from agent_pipeline.simulator.conversation import Ask
from agent_pipeline.simulator.identity import CREATED_AT, Identity, announced_model, pieces_of
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.wire import server_sent_event

_ECHOED: Final[JsonObject] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response_object(ask: Ask, answer: Answer, identity: Identity) -> JsonObject:
    """Return the finished `Response`."""
    return _finished(_skeleton(ask, identity), answer, _output_item(answer, identity))


def response_events(ask: Ask, answer: Answer, identity: Identity) -> list[bytes]:
    """Return the legal sequence of events, from `response.created` to its terminal event with usage."""
    skeleton = _skeleton(ask, identity)
    item = _output_item(answer, identity)
    events: list[JsonObject] = [
        {"type": "response.created", "response": skeleton},
        {"type": "response.in_progress", "response": skeleton},
        *(_message_events(answer, item) if answer.tool is None else _call_events(answer, item)),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    finished = _finished(skeleton, answer, item)
    events.append({"type": f"response.{finished['status']}", "response": finished})
    numbered = ((str(event["type"]), {**event, "sequence_number": index}) for index, event in enumerate(events))
    return [server_sent_event(event, name) for name, event in numbered]


def _skeleton(ask: Ask, identity: Identity) -> JsonObject:
    echoed = {key: default if ask.body.get(key) is None else ask.body[key] for key, default in _ECHOED.items()}
    text = echoed["text"]
    if isinstance(text, dict) and not text.get("format"):
        echoed["text"] = {**text, "format": {"type": "text"}}
    return {
        "id": identity.name("resp"),
        "object": "response",
        "created_at": CREATED_AT,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": announced_model(ask.model),
        "output": [],
        "service_tier": "default",
        "usage": None,
        **echoed,
    }


def _finished(skeleton: JsonObject, answer: Answer, item: JsonObject) -> JsonObject:
    status = "completed" if answer.complete else "incomplete"
    return {
        **skeleton,
        "status": status,
        "completed_at": CREATED_AT if answer.complete else None,
        "incomplete_details": None if answer.complete else {"reason": "max_output_tokens"},
        "output": [item],
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
    }


def _output_item(answer: Answer, identity: Identity) -> JsonObject:
    status = "completed" if answer.complete else "incomplete"
    if answer.tool is not None:
        return {
            "id": identity.name("fc"),
            "type": "function_call",
            "status": status,
            "name": answer.tool,
            "call_id": identity.name("call"),
            "arguments": answer.text,
        }
    part: JsonObject = _part(answer.text)
    return {"id": identity.name("msg"), "type": "message", "status": status, "role": "assistant", "content": [part]}


def _part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message_events(answer: Answer, item: JsonObject) -> list[JsonObject]:
    place: JsonObject = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun: JsonValue = {**item, "status": "in_progress", "content": []}
    deltas: list[JsonObject] = [
        {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        for piece in pieces_of(answer.text)
    ]
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": _part("")},
        *deltas,
        {"type": "response.output_text.done", **place, "text": answer.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(answer.text)},
    ]


def _call_events(answer: Answer, item: JsonObject) -> list[JsonObject]:
    place: JsonObject = {"item_id": item["id"], "output_index": 0}
    begun: JsonValue = {**item, "status": "in_progress", "arguments": ""}
    deltas: list[JsonObject] = [
        {"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in pieces_of(answer.text)
    ]
    done: JsonObject = {"type": "response.function_call_arguments.done", **place, "arguments": answer.text}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *deltas,
        {**done, "name": answer.tool},
    ]
