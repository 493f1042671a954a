"""A run to damage, made once for all tests of this folder."""

from pathlib import Path

import pytest
from tests.runs.sample import Sample, copy_sample, make_sample


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A whole run; only to be copied."""
    return make_sample(tmp_path_factory.mktemp("pristine") / "project")


@pytest.fixture
def sample(pristine: Sample, tmp_path: Path) -> Sample:
    """A whole run, to be damaged."""
    return copy_sample(pristine, tmp_path / "project")
