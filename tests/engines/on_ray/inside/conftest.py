"""One cluster for all tests of a file: it takes ten seconds to begin."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from agent_pipeline.engines.on_ray import LOCAL, cluster
from agent_pipeline.engines.on_ray.cluster import OBJECT_STORE_BYTES
from agent_pipeline.engines.on_ray.library import load_ray

PLACES = 3


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[None]:
    """Let this process be a driver, so that those inside it find a cluster that goes on."""
    cluster.membership.enter(LOCAL, PLACES)
    yield
    cluster.membership.leave()


@pytest.fixture(scope="session")
def standing_cluster() -> Iterator[Any]:
    """Start a cluster with places for two workers, for runs in processes of their own; this one is no part of it."""
    load_ray()
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    standing = importlib.import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=head)
    yield standing
    standing.shutdown()
