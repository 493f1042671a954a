"""The options of a batch job, and what is wrong with them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from agent_pipeline.batch.batch_api_part import BatchProgress
from agent_pipeline.batch.given import check_callable, is_positive, is_seconds, is_whole, told
from agent_pipeline.batch.middleware import PostProcessor
from agent_pipeline.config.limits import BudgetConfig, LimitsConfig
from agent_pipeline.config.prices import FindPrice
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.validation import did_you_mean
from agent_pipeline.gateway import ConnectionPool, Endpoint, Gateway


class BatchAPIOptions(TypedDict, total=False):
    """What a job and one that is resumed have in common; `BatchAPIProcessor` says what each of them is."""

    runtime: RuntimeConfig | str | Path | None
    gateway: Gateway | None
    budget: BudgetConfig | None
    limits: LimitsConfig | None
    poll_interval: float
    max_poll_interval: float
    timeout: float | None
    output_type: Any
    read_answer: Callable[[Mapping[str, Any]], Any] | None
    post_processor: PostProcessor[Any, Any] | None
    on_progress: Callable[[BatchProgress], object] | None
    endpoints: Mapping[str, Endpoint] | None
    price_of: FindPrice
    make_pool: Callable[[], ConnectionPool]
    threaded: bool


_FUNCTIONS = ("read_answer", "post_processor", "on_progress", "price_of", "make_pool")
_KINDS: Mapping[str, tuple[type, str]] = {
    "budget": (BudgetConfig, "a BudgetConfig of agent_pipeline.config.limits, such as BudgetConfig(tokens=1000)"),
    "limits": (LimitsConfig, "a LimitsConfig of agent_pipeline.config.limits"),
    "gateway": (Gateway, "an open Gateway"),
    "endpoints": (Mapping, "a mapping from provider ids to endpoints"),
}


def check_limits(role: object, discount: object, *, max_requests: object, max_bytes: object) -> None:
    """Refuse what no job can be made with.

    Raises:
        ValueError: a number makes no sense.
        TypeError: the role is not given by its name.
    """
    if not isinstance(role, str):
        msg = f"role is the name of a role, not {told(role)}"
        raise TypeError(msg)
    if not is_seconds(discount) or discount >= 1:
        msg = f"a discount is a share from 0 to below 1, not {told(discount)}"
        raise ValueError(msg)
    for name, value in (("max_requests", max_requests), ("max_bytes", max_bytes)):
        if not is_whole(value, 1):
            msg = f"{name} is a whole number from 1, not {told(value)}"
            raise ValueError(msg)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are unknown or of another kind; None stands for its default where it may be given.

    Raises:
        ValueError: a number makes no sense.
        TypeError: there is no such option, or it takes something else.
    """
    for name in options:
        if name not in BatchAPIOptions.__annotations__:
            msg = f"BatchAPIProcessor takes no {name!r}{did_you_mean(name, BatchAPIOptions.__annotations__)}"
            raise TypeError(msg)
    _check_runtime(options.get("runtime"))
    for name, (kind, words) in _KINDS.items():
        value = options.get(name)
        if value is not None and not isinstance(value, kind):
            msg = f"{name} is {words}, not {told(value)}"
            raise TypeError(msg)
    for name in _FUNCTIONS:
        check_callable(name, options.get(name))
    for name in ("poll_interval", "max_poll_interval"):
        if name in options and not is_positive(options[name]):
            msg = f"{name} is a positive number of seconds, not {told(options[name])}"
            raise ValueError(msg)
    timeout = options.get("timeout")
    if timeout is not None and not is_seconds(timeout):
        msg = f"timeout is a number of seconds from 0, or None, not {told(timeout)}"
        raise ValueError(msg)


def _check_runtime(runtime: object) -> None:
    if runtime is None or isinstance(runtime, (RuntimeConfig, str, Path)):
        return
    if isinstance(runtime, Mapping):
        msg = "runtime is a mapping; it goes through agent_pipeline.llmhub.parse_runtime_config first"
    else:
        msg = f"runtime is a RuntimeConfig of agent_pipeline.llmhub, or the path of its file, not {told(runtime)}"
    raise TypeError(msg)
