"""Ray itself: an extra, which takes a second to import."""

import importlib
import importlib.util
import os
from typing import Any

from agent_pipeline.errors import ConfigError

EXTRA = "install agent-pipeline[ray] from where you have agent-pipeline (docs/optional-dependencies.md)"
"""By no command: a package of that name on the package index is somebody else's."""

WORKERS_PER_CORE = 8
"""More would bring a machine down before the first had worked: each takes a second of a core and 150 MB to begin."""

_ENVIRONMENT = {
    # Nothing is reported to anybody.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the current folder and let uv make an environment of it for each worker. They take
    # the one that there is.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Where a cluster's head is gone, Ray ends its driver in the middle of whatever it does. We end it ourselves before.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    # Where the raylet of this machine is gone, Ray ends its driver as well, if that has lost the process that started
    # it: that of a service, or in the background. It looks for this process then, which is there.
    "RAY_RAYLET_PID": str(os.getpid()),
}
"""Read when Ray is imported, and by the processes it starts."""


def check_ray_installed() -> None:
    """See that Ray can be imported, without importing it.

    Raises:
        ConfigError: it can't.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"the engine `ray` needs Ray, which is not installed: {EXTRA}", key="engine.kind")


def check_room_here(workers: int) -> None:
    """See that this machine could run so many workers, for a cluster of our own: Ray would start them all at once.

    Raises:
        ConfigError: it couldn't.
    """
    cores = os.cpu_count() or 1
    if workers > cores * WORKERS_PER_CORE:
        raise ConfigError(
            f"{workers} workers on this machine's {cores} cores: at most {cores * WORKERS_PER_CORE}, and one per core "
            "is enough; more documents at once are had by --worker-concurrency",
            key="engine.workers",
        )


def load_ray() -> Any:  # noqa: ANN401 - its types do not know what its decorators add
    """Import Ray as far as it is not; blocks."""
    os.environ.update(_ENVIRONMENT)
    return importlib.import_module("ray")
