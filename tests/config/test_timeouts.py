"""The ladder of timeouts: each inner one is shorter than those around it."""

from typing import TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.config.pipeline_files import Load, limits, refusal

from agent_pipeline.config.limits import LADDER, TimeoutsConfig


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("document", "run"), ("stage", "document"), ("attempt", "stage"), ("read", "attempt"), ("connect", "attempt"),
        ("attempt", "run"), ("connect", "document"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("length", ["10", "10.5"])
def test_an_inner_timeout_has_to_be_shorter_and_both_lines_are_named(
    load: Load, inner: str, outer: str, length: str
) -> None:
    """Equal is not shorter: which of the two ends it would be chance."""
    unset = [name for name in (*LADDER, "connect") if name not in {inner, outer}]
    lines = [f"    {name}: null" for name in unset] + [f"    {inner}: {length}", f"    {outer}: 10"]

    error = refusal(load, limits("timeouts:\n" + "\n".join(lines)))

    assert error.key == f"limits.timeouts.{inner}"
    assert ":13:5" in error.place
    assert f"the {inner} timeout ({length} s, line 13)" in error.problem
    assert f"the {outer} timeout (10 s, line 14)" in error.problem


def test_read_and_connect_are_not_compared(load: Load) -> None:
    """They follow one another, neither is inside the other."""
    assert load(limits("timeouts: {read: 5, connect: 6}")).limits.timeouts.connect == 6


def test_a_default_that_no_longer_fits_is_called_a_default(load: Load) -> None:
    """The user wrote one number only; the message leads there and names the other."""
    error = refusal(load, limits("timeouts: {document: 200}"))

    assert error.key == "limits.timeouts.document"
    assert "the stage timeout (300 s, the default)" in error.problem


class Rungs(TypedDict, total=False):
    run: float | None
    document: float | None
    stage: float | None
    attempt: float | None
    read: float | None
    connect: float | None


rung = st.none() | st.integers(1, 6).map(float)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rungs=st.fixed_dictionaries(dict.fromkeys((*LADDER, "connect"), rung)))
def test_the_ladder_is_sound_when_every_pair_is(rungs: Rungs) -> None:
    """The oracle compares all pairs; the code only neighbours among those that are set."""
    timeouts = TimeoutsConfig(**rungs)
    lengths: dict[str, float | None] = timeouts.model_dump()
    pairs = [(outer, inner) for at, outer in enumerate(LADDER) for inner in LADDER[at + 1 :]]
    pairs += [(outer, "connect") for outer in LADDER[:-1]]
    set_pairs = [(lengths[outer], lengths[inner]) for outer, inner in pairs]
    sound = all(outer is None or inner is None or inner < outer for outer, inner in set_pairs)

    assert all(inner < outer for _, inner, _, outer in timeouts.steps()) == sound


def test_a_timeout_below_several_defaults_names_all_of_them_at_once() -> None:
    """One after the other would take three tries."""
    timeouts = TimeoutsConfig(stage=50, read=10)

    assert timeouts.too_long_for("stage") == ["attempt"]
    assert TimeoutsConfig(stage=1.5).too_long_for("stage") == ["attempt", "read", "connect"]
    assert TimeoutsConfig(stage=5, attempt=None).too_long_for("stage") == ["read", "connect"]
    assert TimeoutsConfig(document=None).too_long_for("document") == []


def test_the_defaults_that_do_not_fit_are_to_be_written_down(load: Load) -> None:
    error = refusal(load, limits("timeouts: {stage: 50}"))

    assert str(error).endswith("; write down a shorter attempt, read as well")
