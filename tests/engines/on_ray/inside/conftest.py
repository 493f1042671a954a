"""One cluster for all tests of a file: it takes ten seconds to begin."""

from collections.abc import Iterator

import pytest

from agent_pipeline.engines.on_ray import LOCAL, cluster

PLACES = 3


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[None]:
    """Let this process be a driver, so that those inside it find a cluster that goes on."""
    cluster.membership.enter(LOCAL, PLACES)
    yield
    cluster.membership.leave()
