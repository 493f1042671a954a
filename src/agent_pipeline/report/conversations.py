"""Prompts and answers, where the run kept them: in the trace dump, as spans of model calls and tools."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.report.texts import Texts
from agent_pipeline.telemetry import parse_json_object, read_lines

MOST_CHARS = 1_500
"""Of one prompt or answer."""

MOST_IN_ALL = 1_000_000
MOST_PER_DOCUMENT = 12


@dataclass(frozen=True, slots=True)
class Exchange:
    """A model call or a tool's: who was asked what, and what came back."""

    who: str
    prompt: str
    answer: str


def read_exchanges(traces: Path, documents: Mapping[str, str], texts: Texts) -> dict[str, list[Exchange]]:
    """Return what documents' traces hold of prompts and answers; nothing where the run did not keep them.

    Args:
        traces: the run's trace dump; without one there is nothing.
        documents: ids by trace id; others are left out.
        texts: cleans and cuts.
    """
    found: dict[str, list[Exchange]] = {}
    room = MOST_IN_ALL
    try:
        for line in read_lines(traces, _parse):
            document_id = documents.get(str((line.value or {}).get("trace_id")))
            exchange = None if document_id is None or line.value is None else _exchange(line.value, texts)
            if document_id is None or exchange is None or room <= 0:
                continue
            known = found.setdefault(document_id, [])
            if len(known) < MOST_PER_DOCUMENT:
                known.append(exchange)
                room -= len(exchange.prompt) + len(exchange.answer)
    except OSError:
        return found  # what there is of it was read; `verify` says what is wrong with the file
    return found


def _parse(text: str) -> dict[str, object]:
    """Decode the lines that may hold texts."""
    return parse_json_object(text) if '"generation"' in text or '"function"' in text or '"response"' in text else {}


def _exchange(span: Mapping[str, object], texts: Texts) -> Exchange | None:
    data = span.get("span_data")
    if not isinstance(data, dict):
        return None
    prompt, answer = _words(data.get("input")), _words(data.get("output"))
    if not prompt and not answer:
        return None
    who = f"tool {data.get('name')}" if data.get("type") == "function" else str(data.get("model") or "model")
    return Exchange(texts.line(who, 80), texts.block(prompt, MOST_CHARS), texts.block(answer, MOST_CHARS))


def _words(value: object) -> str:
    """Return messages as their words, other values as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return "\n\n".join(_message(one) for one in value)
    return json.dumps(value, ensure_ascii=False)


def _message(message: Mapping[str, object]) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        return json.dumps(message, ensure_ascii=False)
    role = message.get("role")
    return content if role in {None, "assistant"} else f"[{role}]\n{content}"
