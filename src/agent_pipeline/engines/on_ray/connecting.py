"""How this process becomes a driver at an address, and what is said where it can't."""

import importlib
import logging
from collections.abc import Callable

from agent_pipeline.engines.on_ray.address import AUTO, LOCAL, check_answers, nobody_at
from agent_pipeline.engines.on_ray.library import load_ray
from agent_pipeline.engines.on_ray.words import in_words
from agent_pipeline.errors import ConfigError

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""For a cluster of our own: batches and shards pass through it, nothing stays."""


def connect(address: str, workers: int, is_wanted: Callable[[], bool]) -> bool:
    """Connect this process; return whether that was done: it may be connected already, or not be wanted any more.

    Blocks, in Ray for as long as Ray likes: it tries for minutes to hear from a head that accepts and says nothing.

    Raises:
        ConfigError: it can't be.
    """
    ray = load_ray()
    if ray.is_initialized():
        return False
    check_answers(address)
    _keep_quiet()
    local = {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    if not is_wanted():
        return False
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            **(local if address == LOCAL else {}),
        )
    except Exception as exc:
        raise ConfigError(_problem(address, exc), key="engine.address") from exc
    return True


def _keep_quiet() -> None:
    """Let Ray's driver say nothing on a terminal that is not its own; what it says of workers we say ourselves."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # It prints errors of the cluster to stdout, which belongs to results, and has no switch for that.
    vars(importlib.import_module("ray._private.worker"))["print_to_stdstream"] = _ignore


def _ignore(*_arguments: object, **_more: object) -> None:
    """Stand in the place of what prints."""


def _problem(address: str, exc: Exception) -> str:
    if address == LOCAL:
        return f"Ray could not be started on this machine: {in_words(exc)}"
    if isinstance(exc, ConnectionError) and address == AUTO:
        return nobody_at(address)
    if isinstance(exc, ConnectionError):
        return (
            f"what answers at {address} does not let this process in: see that it is the head of a Ray cluster, and "
            "that RAY_AUTH_MODE and ~/.ray/auth_token are the same here as there (docs/ray.md)"
        )
    return f"the Ray cluster {address} could not be used: {in_words(exc)}"
