"""A fresh clone gets the tree that was tested, by exact versions alone."""

import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.house.tracked import ROOT, relative, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = [Requirement(pin) for pin in PROJECT["tool"]["uv"]["constraint-dependencies"]]


def exact_version(pin: Requirement) -> str:
    """Return the one version a pin allows."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def test_lock_file_is_not_committed() -> None:
    """It records download addresses; the versions are in pyproject.toml."""
    assert "uv.lock" not in {relative(path) for path in tracked()}


def test_a_pin_is_an_exact_version_and_nothing_else() -> None:
    """A range drifts, an address works on one network only."""
    assert all(exact_version(pin) and pin.url is None and not pin.extras for pin in PINNED)


def test_every_dependency_is_pinned_within_its_range() -> None:
    """A pin that was forgotten when a dependency was added or raised: `just lock` mends it."""
    versions = {canonicalize_name(pin.name): exact_version(pin) for pin in PINNED}
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]

    for want in map(Requirement, asked):
        assert versions.get(canonicalize_name(want.name), "none") in want.specifier, want
