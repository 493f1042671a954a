"""One cluster for all tests of a file: it takes ten seconds to begin."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from agent_pipeline.engines.on_ray import LOCAL
from agent_pipeline.engines.on_ray.connecting import OBJECT_STORE_BYTES
from agent_pipeline.engines.on_ray.library import load_ray
from agent_pipeline.engines.on_ray.membership import membership
from agent_pipeline.engines.on_ray.visits import Visits

PLACES = 3


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[None]:
    """Let this process be a driver, so that those inside it find a cluster that goes on."""
    connection = membership.join(LOCAL, PLACES)
    connection.wait_begun()
    yield
    membership.leave(connection, Visits())
    connection.wait_ended()


@pytest.fixture(scope="session")
def standing_cluster() -> Iterator[Any]:
    """Start a cluster with places for two workers, for runs in processes of their own; this one is no part of it."""
    load_ray()
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    standing = importlib.import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=head)
    yield standing
    standing.shutdown()
