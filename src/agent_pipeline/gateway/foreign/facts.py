"""What an error of somebody else's client carries, whoever wrote the client: status, headers, codes, words, classes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent_pipeline.gateway.failures import describe, quoted

_MOST_CAUSES = 8
_LONGEST_REQUEST_ID = 200


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error tells, itself or through what caused it; the outermost that knows counts.

    Attributes:
        status: the HTTP status of an answer that is no success, None where there was none.
        codes: the provider's own words for what went wrong, in lower case.
        message: likewise, fit to be shown once secrets are taken out.
        headers: of the answer, by names in lower case.
        request_id: the provider's name for the request.
        classes: names of the classes of the error and of its causes, with those they are made of; no builtin ones
            above `OSError`.
    """

    status: int | None
    codes: frozenset[str]
    message: str
    headers: Mapping[str, str]
    request_id: str | None
    classes: frozenset[str]


def read_facts(error: BaseException) -> ErrorFacts:
    """Read an error and the chain of its causes; what merely happened before says nothing of it."""
    chain = list(_chain(error))
    said = [describe(body) for one in chain for body in _bodies(one)]
    codes = {code.lower() for one in chain for code in _codes(one)} | {code.lower() for _, own in said for code in own}
    words = [words for words, _ in said if words] or [quoted(one) for one in chain if str(one)]
    return ErrorFacts(
        status=next((status for one in chain if (status := _status(one)) is not None), None),
        codes=frozenset(codes),
        message=words[0] if words else type(error).__name__,
        headers=next((headers for one in chain if (headers := _headers(one))), {}),
        request_id=next((name for one in chain if (name := _request_id(one)) is not None), None),
        classes=frozenset(kind.__name__ for one in chain for kind in type(one).__mro__ if kind not in _SAY_NOTHING),
    )


_SAY_NOTHING = frozenset({Exception, BaseException, object, RuntimeError, ValueError, OSError})


def _chain(error: BaseException) -> Iterator[BaseException]:
    # any-llm's own errors guess from words what they stand for; what they were made of knows.
    original: object = getattr(error, "original_exception", None)
    one: BaseException | None = original if isinstance(original, BaseException) else error
    for _ in range(_MOST_CAUSES):
        while isinstance(one, BaseExceptionGroup) and len(one.exceptions) == 1:
            one = one.exceptions[0]
        if one is None:
            return
        yield one
        one = one.__cause__


def _status(error: BaseException) -> int | None:
    response: object = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        metadata = response.get("ResponseMetadata")
        return _as_status(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None
    # A number under `code` is a status only where there was an answer of its own; inside a stream it is a word.
    names = ("status_code", "status", "http_status", *(() if response is None else ("code",)))
    values = (getattr(owner, name, None) for owner in (error, response) for name in names)
    return next((status for value in values if (status := _as_status(value)) is not None), None)


def _as_status(value: object) -> int | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and 300 <= value < 600
    return value if is_one and isinstance(value, int) else None


def _codes(error: BaseException) -> Iterator[str]:
    for name in ("code", "type", "status"):
        value: object = getattr(error, name, None)
        if callable(value) and callable(getattr(error, "details", None)):  # grpc: `code()` is a member of an enum
            value = getattr(value(), "name", None)
        if isinstance(value, str):
            yield value
        elif name == "code" and _as_status(value) is not None:
            yield str(value)


def _bodies(error: BaseException) -> Iterator[object]:
    """Yield what the provider said in its answer, as parsed JSON, without the object around it."""
    details: object = getattr(error, "details", None)
    for value in (getattr(error, "body", None), details() if callable(details) else details, _botocore_error(error)):
        found = _parsed(value) if isinstance(value, str | bytes) else value
        if isinstance(found, Mapping):
            yield found.get("error") or found
        elif isinstance(found, str) and found:
            yield found


def _parsed(text: str | bytes) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return value if isinstance(value, Mapping) else text


def _botocore_error(error: BaseException) -> object:
    response: object = getattr(error, "response", None)
    said = response.get("Error") if isinstance(response, Mapping) else None
    return {str(name).lower(): value for name, value in said.items()} if isinstance(said, Mapping) else None


def _headers(error: BaseException) -> Mapping[str, str]:
    response: object = getattr(error, "response", None)
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        found: object = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    else:
        found = getattr(response, "headers", None) or getattr(error, "headers", None)
    items = getattr(found, "items", None)
    headers = {str(name).lower(): str(value) for name, value in items()} if callable(items) else {}
    asked: object = getattr(error, "retry_after", None)
    if isinstance(asked, str | int | float) and not isinstance(asked, bool):
        headers.setdefault("retry-after", str(asked))
    return headers


def _request_id(error: BaseException) -> str | None:
    value: object = getattr(error, "request_id", None)
    is_one = isinstance(value, str) and value.isascii() and value.isprintable()
    return str(value)[:_LONGEST_REQUEST_ID] if value and is_one else None
