"""Workers as actors of Ray, an extra; nothing here imports it before a cluster is opened."""

from agent_pipeline.engines.on_ray.cluster import AUTO, LOCAL, open_cluster
from agent_pipeline.engines.on_ray.library import check_ray_installed, check_room_here

__all__ = ["AUTO", "LOCAL", "check_ray_installed", "check_room_here", "open_cluster"]
