"""A run of every kind of record, made once, copied for each test that wants to change it."""

from pathlib import Path

import pytest
from tests.runs.sample import Sample, copy_sample, make_sample


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A whole run; only to be read or copied."""
    return make_sample(tmp_path_factory.mktemp("reported") / "project")


@pytest.fixture
def sample(pristine: Sample, tmp_path: Path) -> Sample:
    """A whole run, to be changed."""
    return copy_sample(pristine, tmp_path / "project")
