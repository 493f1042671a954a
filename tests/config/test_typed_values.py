"""A value has the type of its default, and one that has not keeps the whole file out."""

import json
from pathlib import Path

import pytest

from agent_pipeline.config.json_file import load_json_map
from agent_pipeline.config.typed_values import Change, Reading, TypedDefaults, changes_between, differ, rebased
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

DEFAULTS: dict[str, object] = {
    "FLAG": True,
    "COUNT": 25,
    "PAUSE": 0.5,
    "NAME": "gpt-oss",
    "WORDS": ["a", "b"],
    "PAUSES": [1.0],
    "MIXED": ["a", 1],
    "LIMITS": {"low": 1, "inner": {"pause": 1.5}},
    "ANY": None,
}


def read(tmp_path: Path, text: str) -> Reading:
    """Read a file with this text."""
    path = tmp_path / "live.json"
    path.write_text(text, encoding="utf-8")
    return TypedDefaults(DEFAULTS).read(load_json_map(path))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("FLAG", False, False),
        ("COUNT", 5, 5),
        ("COUNT", -1, -1),
        ("PAUSE", 2, 2.0),
        ("PAUSE", 2.5, 2.5),
        ("NAME", "", ""),
        ("WORDS", [], []),
        ("WORDS", ["c", "d", "e"], ["c", "d", "e"]),
        ("PAUSES", [1, 2.5], [1.0, 2.5]),
        ("MIXED", [None, {}, 1.5], [None, {}, 1.5]),
        ("LIMITS", {}, {"low": 1, "inner": {"pause": 1.5}}),
        ("LIMITS", {"more": "x", "inner": {"pause": 2}}, {"more": "x", "low": 1, "inner": {"pause": 2.0}}),
        ("ANY", "a", "a"),
        ("ANY", None, None),
        ("ANY", [True], [True]),
    ],
)
def test_what_has_its_defaults_type_is_taken(tmp_path: Path, name: str, value: JsonValue, kept: JsonValue) -> None:
    """Exactly: to Python `1`, `1.0` and `true` are equal. An assignment has the same rule."""
    values = read(tmp_path, json.dumps({name: value})).values

    assert values is not None
    assert json.dumps(values, sort_keys=True) == json.dumps(DEFAULTS | {name: kept}, sort_keys=True)
    assert not differ(TypedDefaults(DEFAULTS).fit(name, value), kept)


@pytest.mark.parametrize(
    ("name", "value", "place", "words"),
    [
        ("FLAG", 1, "FLAG", "true or false"),
        ("COUNT", True, "COUNT", "a whole number"),
        ("COUNT", 5.0, "COUNT", "a whole number"),
        ("COUNT", "5", "COUNT", "a whole number"),
        ("COUNT", None, "COUNT", "leave the key out"),
        ("PAUSE", True, "PAUSE", "a number"),
        ("PAUSE", "1", "PAUSE", "a number"),
        ("NAME", 5, "NAME", "a text"),
        ("WORDS", "ab", "WORDS", "a list"),
        ("WORDS", ["a", 1], "WORDS.1", "a text"),
        ("PAUSES", [1.5, None], "PAUSES.1", "null"),
        ("LIMITS", [], "LIMITS", "a mapping"),
        ("LIMITS", {"low": "x"}, "LIMITS.low", "a whole number"),
        ("LIMITS", {"inner": {"pause": False}}, "LIMITS.inner.pause", "a number"),
    ],
)
def test_another_type_is_refused(tmp_path: Path, name: str, value: JsonValue, place: str, words: str) -> None:
    """With its place, and without repeating it."""
    reading = read(tmp_path, '{"NAME": "x",\n' + json.dumps({name: value})[1:]) if name != "NAME" else None
    reading = reading or read(tmp_path, json.dumps({name: value}))

    assert reading.values is None
    (problem,) = reading.problems
    assert problem.key == place
    assert words in problem.problem
    assert problem.place.startswith(f"{tmp_path / 'live.json'}:{1 if name == 'NAME' else 2}:")
    with pytest.raises(TypeError, match=words):
        TypedDefaults(DEFAULTS).fit(name, value)


def test_every_mistake_of_a_file_is_told(tmp_path: Path) -> None:
    """Nobody wants to meet them one by one."""
    reading = read(tmp_path, '{"COUNT": "x", "NAME": 1, "PAUSE": 2, "FLAG": []}')

    assert reading.values is None
    assert [problem.key for problem in reading.problems] == ["FLAG", "COUNT", "NAME"]


@pytest.mark.parametrize(("text", "words"), [("", "empty"), ("[]", "no mapping"), ("1", "no mapping")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (problem,) = read(tmp_path, text).problems

    assert words in problem.problem


def test_keys_of_others_are_kept_apart_and_probable_slips_are_told(tmp_path: Path) -> None:
    """A slip must not go unnoticed; a neighbour of a key that is there is none."""
    reading = read(tmp_path, '{"COUNT": 1, "COUNTS": 7, "other": {"x": 1},\n "PUASE": 2}')

    assert reading.values is not None
    assert reading.values["PAUSE"] == 0.5
    assert reading.others == {"COUNTS": 7, "other": {"x": 1}, "PUASE": 2}
    (problem,) = reading.problems
    assert problem.key == "PUASE"
    assert "did you mean 'PAUSE'?" in problem.problem
    assert ":2:" in problem.place


def test_an_unknown_name_is_told_with_the_near_one() -> None:
    with pytest.raises(AttributeError, match=r"'COUTN'; did you mean 'COUNT'\?"):
        TypedDefaults(DEFAULTS).fit("COUTN", 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"x", {1: 2}, 10**64, "\ud800"])
def test_what_json_cant_hold_is_refused(value: object) -> None:
    """As a value and as a default."""
    with pytest.raises(ValueError, match=r"\w"):
        TypedDefaults(DEFAULTS).fit("ANY", value)
    with pytest.raises(ConfigError):
        TypedDefaults({"ANY": value})


@pytest.mark.parametrize(
    ("one", "other", "are_different"),
    [(1, True, True), (1, 1.0, True), (0.1, 0.1, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False)],
)
def test_json_tells_apart_what_python_does_not(one: JsonValue, other: JsonValue, *, are_different: bool) -> None:
    """A change from 1 to true is one; the order of a mapping's keys is none."""
    assert differ(one, other) == are_different
    assert changes_between({"A": one, "B": 2}, {"A": other, "B": 2}) == (
        {"A": Change(one, other)} if are_different else {}
    )


@pytest.mark.parametrize(
    ("mine", "base", "theirs", "both"), [(1, 1, 1, 1), (2, 1, 1, 2), (1, 1, 2, 2), (3, 1, 2, 3), (2, 1, 2, 2)]
)
def test_what_one_changed_stands_above_the_other(mine: int, base: int, theirs: int, both: int) -> None:
    """What it left alone gives way."""
    assert rebased({"A": mine}, {"A": base}, {"A": theirs}) == {"A": both}
