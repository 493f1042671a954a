"""Processes and providers that several tests share."""

from collections.abc import Iterator

import pytest
from tests.integration.command import Launcher
from tests.integration.provider import SeparateSimulator


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts commands as processes; what they import is imported once."""
    launcher = Launcher(tmp_path_factory.mktemp("processes"))
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def simulator(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeparateSimulator]:
    """`agent-pipeline simulate` as a process of its own."""
    simulator = SeparateSimulator(launcher, tmp_path_factory.mktemp("simulate"))
    yield simulator
    simulator.close()
