"""The tokens that an answer, or an error, says it used, whatever library speaks."""

from collections.abc import Mapping

from agent_pipeline.domain.usage import Usage

_NAMES: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("input_tokens", "prompt_tokens", "request_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "response_tokens"),
    "cached_input_tokens": ("cached_input_tokens", "cache_read_tokens", "cached_tokens"),
    "reasoning_tokens": ("reasoning_tokens",),
}
"""The one table of names; the first that is there counts."""

_PARTS: Mapping[str, tuple[str, ...]] = {
    "cached_input_tokens": ("input_tokens_details", "prompt_tokens_details"),
    "reasoning_tokens": ("output_tokens_details", "completion_tokens_details"),
}
"""Where OpenAI's usage keeps what is a part of the other two."""

_ON_ERRORS = ("usage", "token_usage", "_failed_token_usage")
_MOST_CAUSES = 8


def read_usage(reported: object) -> Usage | None:
    """Return the usage in a mapping, or an object with attributes; None where it names no tokens.

    What is no whole number from 0 counts as unsaid.

    >>> read_usage({"prompt_tokens": 3, "completion_tokens": 2})
    Usage(input_tokens=3, output_tokens=2, cached_input_tokens=0, reasoning_tokens=0)
    """
    found = {ours: count for ours in _NAMES if (count := _count(reported, ours)) is not None}
    return Usage(**found) if found else None


def usage_of_reply(reply: object) -> Usage | None:
    """Return what an agent's result reports: `usage` may be a value, or a method without arguments."""
    usage = getattr(reply, "usage", None)
    found = read_usage(usage)
    return read_usage(usage()) if found is None and callable(usage) else found


def usage_of_error(error: BaseException) -> Usage | None:
    """Return the usage that an error carries, itself or in what caused it; None where nobody tells."""
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return None
        for name in _ON_ERRORS:
            usage = read_usage(getattr(one, name, None))
            if usage is not None:
                return usage
        spent = _spent_by_agent(one)
        if spent is not None:
            return spent
        one = one.__cause__ or one.__context__
    return None


def _spent_by_agent(error: BaseException) -> Usage | None:
    """Return what a run of the Agents SDK had used when it failed."""
    wrapper = getattr(getattr(error, "run_data", None), "context_wrapper", None)
    return read_usage(getattr(wrapper, "usage", None))


def _count(reported: object, ours: str) -> int | None:
    for name in _NAMES[ours]:
        if (count := _whole(_member(reported, name))) is not None:
            return count
    for part in _PARTS.get(ours, ()):
        inner = _member(reported, part)
        for name in _NAMES[ours]:
            if (count := _whole(_member(inner, name))) is not None:
                return count
    return None


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
