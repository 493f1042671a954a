"""The Chat Completions API: an answer as a `ChatCompletion` or as its stream of chunks."""

from typing import Final

from agent_pipeline.simulator.answer import Answer
from agent_pipeline.simulator.conversation import Ask
from agent_pipeline.simulator.identity import CREATED_AT, Identity, announced_model, pieces_of
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.wire import server_sent_event

FINGERPRINT: Final = "fp_agent_pipeline_simulator"


def completion_object(ask: Ask, answer: Answer, identity: Identity) -> JsonObject:
    """Return the finished `ChatCompletion`."""
    message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    if answer.tool is not None:
        call: JsonObject = {"id": identity.name("call"), "type": "function"}
        message |= {
            "content": None,
            "tool_calls": [{**call, "function": {"name": answer.tool, "arguments": answer.text}}],
        }
    choice: JsonObject = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
    return {**_head(ask, identity, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def completion_events(ask: Ask, answer: Answer, identity: Identity) -> list[bytes]:
    """Return the chunks, the usage chunk where it was asked for, and `[DONE]`."""
    head = _head(ask, identity, "chat.completion.chunk")
    if ask.include_usage:
        head["usage"] = None
    deltas = _text_deltas(answer) if answer.tool is None else _call_deltas(answer, identity)
    chunks: list[JsonObject] = [{**head, "choices": [_chunk_choice(delta, None)]} for delta in deltas]
    chunks.append({**head, "choices": [_chunk_choice({}, _finish_reason(answer))]})
    if ask.include_usage:
        chunks.append({**head, "choices": [], "usage": _usage(answer)})
    return [*(server_sent_event(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


def _head(ask: Ask, identity: Identity, kind: str) -> JsonObject:
    return {
        "id": identity.name("chatcmpl"),
        "object": kind,
        "created": CREATED_AT,
        "model": announced_model(ask.model),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _chunk_choice(delta: JsonObject, finish_reason: str | None) -> JsonObject:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _text_deltas(answer: Answer) -> list[JsonObject]:
    first: JsonObject = {"role": "assistant", "content": "", "refusal": None}
    pieces: list[JsonObject] = [{"content": piece} for piece in pieces_of(answer.text)]
    return [first, *pieces]


def _call_deltas(answer: Answer, identity: Identity) -> list[JsonObject]:
    call: JsonObject = {"index": 0, "id": identity.name("call"), "type": "function"}
    first: JsonObject = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{**call, "function": {"name": answer.tool, "arguments": ""}}],
    }
    pieces: list[JsonObject] = [
        {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces_of(answer.text)
    ]
    return [first, *pieces]


def _finish_reason(answer: Answer) -> str:
    if not answer.complete:
        return "length"
    return "stop" if answer.tool is None else "tool_calls"


def _usage(answer: Answer) -> JsonObject:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
