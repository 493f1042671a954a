"""Workers as actors of Ray, an extra; nothing here imports it before a cluster is opened."""

from typing import TYPE_CHECKING

from agent_pipeline.engines.on_ray.address import AUTO, LOCAL, check_answers
from agent_pipeline.engines.on_ray.job_folder import check_kept
from agent_pipeline.engines.on_ray.library import EXTRA, check_ray_installed, check_room_here
from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.engines.on_ray.cluster import open_cluster as open_cluster

__all__ = [
    "AUTO",
    "EXTRA",
    "LOCAL",
    "check_answers",
    "check_kept",
    "check_ray_installed",
    "check_room_here",
    "open_cluster",
]

__getattr__ = lazy_exports(__name__, {"open_cluster": "agent_pipeline.engines.on_ray.cluster"})
