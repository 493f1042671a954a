"""Judges what any-llm makes of a provider's answer: its usage first, then whether there is anything in it."""

from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import ModelProtocolError
from agent_pipeline.gateway.answers import read_usage
from agent_pipeline.gateway.foreign.requests import ForeignRequest

_SAYS = ("content", "refusal", "tool_calls", "function_call", "reasoning", "audio", "images")
"""Members of a message with any of which it says something."""


def usage_of(answer: object, request: ForeignRequest) -> Usage | None:
    """Return the usage an answer or a chunk reports.

    Clients that report none are given zeros by any-llm, and nothing has an input of no tokens: that is no report.
    """
    reported = getattr(answer, "usage", None)
    dump = getattr(reported, "model_dump", None)
    values = dump() if callable(dump) else reported
    usage = read_usage(values, "prompt_tokens", None if request.kind == "embedding" else "completion_tokens")
    return usage if usage is not None and usage.input_tokens > 0 else None


def check_answer(answer: object, request: ForeignRequest) -> None:
    """Raise where there is no answer; one that was cut off by the output cap is one.

    Raises:
        ModelProtocolError: nothing in it, or another number of vectors than of texts.
    """
    if request.kind == "embedding":
        _check_vectors(answer, request.answers)
        return
    choices = getattr(answer, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(first, "message", None)
    if message is None:
        raise ModelProtocolError("the answer has no choices")
    if finish_of(answer) == "length":
        return
    if not any(getattr(message, name, None) for name in _SAYS):
        raise ModelProtocolError("the answer is empty")


def finish_of(answer: object) -> str | None:
    """Return why an answer, or the part of one that a chunk is, ended; None where it did not."""
    choices = getattr(answer, "choices", None)
    reasons = [getattr(choice, "finish_reason", None) for choice in (choices if isinstance(choices, list) else ())]
    return next((reason for reason in reasons if isinstance(reason, str) and reason), None)


def _check_vectors(answer: object, wanted: int | None) -> None:
    data = getattr(answer, "data", None)
    vectors = [getattr(one, "embedding", None) for one in data] if isinstance(data, list) else []
    if not vectors or not all(vectors):
        raise ModelProtocolError("the answer has no vectors")
    if wanted is not None and len(vectors) != wanted:
        raise ModelProtocolError(f"the answer has {len(vectors)} vectors for {wanted} texts")
