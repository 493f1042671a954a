"""What a pool takes, checked before anything is sent; problems are told by the names that its user knows."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from agent_pipeline.config.limits import LimitsConfig, parse_limits
from agent_pipeline.errors import ConfigError

PARAMS = "roles.pool.params."
"""Where a request's params are in the config that a pool makes for itself."""

_GIVEN_AS = {
    "providers.pool.base_url": "base_url",
    "roles.pool.model": "model",
    "requests_in_flight": "max_inflight",
    "timeouts.attempt": "timeout",
    "retry.max_attempts": "max_attempts",
}

_KEY_BY_KEY = ("timeouts", "retry")
"""What `limits` may say a part of, in which the rest is the pool's."""

_ELSEWHERE = {
    "model": "belongs in LLMPool(model=...); a pool asks one model",
    "base_url": "belongs in LLMPool(base_url=...)",
    "api_key": "belongs in LLMPool(api_key=...)",
    "timeout": "belongs in LLMPool(timeout=...), or set_timeout",
    "max_retries": "belongs in LLMPool(max_attempts=...)",
    "stream": "belongs in LLMHub, whose astream_completion gives chunks; a pool gives whole answers",
    "extra_body": "belongs nowhere here: give its fields as keywords of request",
    "extra_headers": "belongs nowhere here: a pool sends no headers of yours",
    "extra_query": "belongs nowhere here: a pool sends no query of yours",
}
"""Keywords that other clients' requests have."""


def check_params(params: Mapping[str, object]) -> None:
    """Refuse what no request to a pool says.

    Raises:
        TypeError: one of them belongs elsewhere.
    """
    for name in params:
        if name in _ELSEWHERE:
            msg = f"{name} is no argument of request: it {_ELSEWHERE[name]}"
            raise TypeError(msg)


def timeout_problem(timeout: object) -> str | None:
    """Return what is wrong with a timeout; None where nothing is."""
    if timeout is None:
        return None
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if is_number and isinstance(timeout, int | float) and timeout > 0:
        return None
    return f"a positive number of seconds is wanted, or None for no limit, not {timeout!r}"


def count_problem(count: object) -> str | None:
    """Return what is wrong with a number of things; None where nothing is."""
    return None if type(count) is int and count > 0 else f"a whole number above 0 is wanted, not {count!r}"


@contextmanager
def names_of_the_pool(limits: Mapping[str, object]) -> Generator[None]:
    """Have config errors name what was given: an argument, a param, or a key of `limits`."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(exc.problem, place=exc.place, key=_as_given(exc.key, limits)) from None


def _as_given(key: str, limits: Mapping[str, object]) -> str:
    if key.startswith(PARAMS):
        return key.removeprefix(PARAMS)
    first = key.partition(".")[0]
    if first not in limits:
        for ours, theirs in _GIVEN_AS.items():
            if key == ours or key.startswith(f"{ours}."):
                return theirs
    return f"limits.{key}" if first in limits else key


def pool_limits(max_inflight: int, timeout: float | None, max_attempts: int, limits: object) -> LimitsConfig:
    """Return all limits of a pool.

    Raises:
        ConfigError: one of them makes no sense.
    """
    more: Mapping[str, Any] = limits if isinstance(limits, Mapping) else {}
    problems = {
        "max_inflight": count_problem(max_inflight),
        "timeout": timeout_problem(timeout),
        "max_attempts": count_problem(max_attempts),
        "limits": None if limits is more else f"a mapping is wanted, not {type(limits).__name__}",
    }
    for name, problem in problems.items():
        if problem is not None:
            raise ConfigError(problem, key=name)
    own: dict[str, Mapping[str, Any]] = {
        "requests_in_flight": {"start": max_inflight, "min": 1, "max": max_inflight},
        "timeouts": {"attempt": timeout, "read": None, "connect": None if timeout is None else min(5.0, timeout)},
        "retry": {"max_attempts": max_attempts},
    }
    inside = {name: {**own[name], **more[name]} for name in _KEY_BY_KEY if isinstance(more.get(name), Mapping)}
    with names_of_the_pool(more):
        return parse_limits({**own, **more, **inside})
