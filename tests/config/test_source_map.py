"""What the loader reads, what it refuses, and the places it names."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline.config.source_map import MAX_DEPTH, load_source_map, parse_source_map, source_map_of
from agent_pipeline.config.text_file import MAX_FILE_BYTES
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_source_map(text, name="f.yaml")
    return caught.value


def test_scalars_follow_yaml_1_2() -> None:
    """YAML 1.1 turns Norway into false and a time into a number; a config must not."""
    source = parse_source_map(
        "a: no\nb: on\nc: 12:30:45\nd: 2024-01-01\ne: 010\nf: 1_000\ng: true\nh: ~\ni: 1e3\nj: '1'"
    )

    assert source.value == {
        "a": "no", "b": "on", "c": "12:30:45", "d": "2024-01-01", "e": 10,
        "f": "1_000", "g": True, "h": None, "i": 1000.0, "j": "1",
    }  # fmt: skip


def test_keys_stay_texts() -> None:
    """`on:` and `1:` are names like any other."""
    assert parse_source_map("on: 1\nno: 2\n1: 3\nnull: 4").value == {"on": 1, "no": 2, "1": 3, "null": 4}


def test_every_key_has_its_place() -> None:
    """Errors name line and column, counted from 1, also inside lists and flow mappings."""
    source = parse_source_map("a:\n  - b: 1\n    c: {d: 2}\n  - x\n", name="f.yaml")

    assert source.places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", 0): (2, 5),
        ("a", 0, "b"): (2, 5),
        ("a", 0, "c"): (3, 5),
        ("a", 0, "c", "d"): (3, 9),
        ("a", 1): (4, 5),
    }
    assert source.place(("a", 0, "c", "missing")) == "f.yaml:3:5"
    assert source.line(("a", 0, "c", "missing")) is None


@pytest.mark.parametrize(
    ("text", "place", "key", "words"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f.yaml:4:3", "b.c", "twice; the first one is on line 3"),
        ('{"a": 1, "a": 2}', "f.yaml:1:10", "a", "twice"),
        ('1: a\n"1": b\n', "f.yaml:2:1", "1", "twice"),
        ("a: &x 1\n", "f.yaml:1:4", "a", "anchors"),
        ("a: *x\n", "f.yaml:1:4", "a", "aliases"),
        ("a: !!str 1\n", "f.yaml:1:4", "a", "tags"),
        ("a: ! 1\n", "f.yaml:1:4", "a", "tags"),
        ("!!map {a: 1}\n", "f.yaml:1:1", "", "tags"),
        ("<<: {a: 1}\n", "f.yaml:1:1", "", "merge keys"),
        ("? [a]\n: 1\n", "f.yaml:1:3", "", "a key is a text"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2:1", "", "more than one document"),
        ("%YAML 1.1\n---\na: 1\n", "f.yaml:2:1", "", "directives"),
        ("a: .nan\n", "f.yaml:1:4", "a", "finite"),
        ("a: -.inf\n", "f.yaml:1:4", "a", "finite"),
        ("a: 1e999\n", "f.yaml:1:4", "a", "finite"),
        (f"a: {'9' * 5000}\n", "f.yaml:1:4", "a", "more than 64"),
        ('a: "\\ud83d"\n', "f.yaml:1:4", "a", "surrogate"),
        ("a: [1\nb: 2\n", "f.yaml:2:2", "", "not valid YAML or JSON"),
        ("a: 1\nb: \x01\n", "f.yaml:2:4", "", "control character"),
        ('"\\UFFFFFFFF"', "f.yaml", "", "not valid YAML or JSON"),
    ],
)
def test_what_has_two_meanings_is_refused_at_its_place(text: str, place: str, key: str, words: str) -> None:
    """Each of these is read differently by different loaders, or not at all."""
    error = refusal(text)

    assert (error.place, error.key) == (place, key)
    assert words in error.problem


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 50_000, "- " * 1000 + "x", "\n".join(" " * n + "a:" for n in range(100))]
)
def test_deep_nesting_is_a_config_error(text: str) -> None:
    """Deep nesting overruns the stack of loaders that recurse."""
    assert "deeper than 32" in refusal(text).problem


def test_the_deepest_allowed_nesting_is_read() -> None:
    """The cap is exact: 32 levels are in, 33 are out."""
    assert parse_source_map("[" * MAX_DEPTH + "]" * MAX_DEPTH).value is not None
    assert "deeper" in refusal("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).problem


def test_json_with_tabs_and_escapes_is_read() -> None:
    """Other programs indent JSON with tabs and write everything beyond ASCII as surrogate pairs."""
    text = '{\n\t"a":\t"x\\ud83d\\ude00\\/\\n\\t",\n\t"b": [\t1, 2.5e1, -0, true, null\t]\n}'

    assert parse_source_map(text).value == json.loads(text)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=30)
# Raw control characters of the C1 block are no part of YAML text; escaped they are.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=values, indent=st.sampled_from([None, 2, "\t"]))
def test_json_reads_as_the_json_module_reads_it(value: JsonValue, indent: int | str | None) -> None:
    """JSON is read by the YAML loader, which must not be noticed."""
    assert parse_source_map(json.dumps(value, indent=indent)).value == value


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Some editors write one; it is no part of the first key."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert load_source_map(path).value == {"a": 1}


def test_text_that_is_not_utf8_is_refused_at_its_place(tmp_path: Path) -> None:
    """The place of the byte, not only the name of the codec."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")

    with pytest.raises(ConfigError) as caught:
        load_source_map(path)
    assert caught.value.place == f"{path}:2:4"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A FIFO would hang the command, a folder or device is a mistake."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_source_map(path)


@pytest.mark.parametrize("name", ["missing.yaml", "x" * 5000, "a\0b"])
def test_an_impossible_file_is_a_config_error(tmp_path: Path, name: str) -> None:
    """No OSError or ValueError reaches the user."""
    with pytest.raises(ConfigError):
        load_source_map(tmp_path / name)


def test_the_size_cap_is_exact(tmp_path: Path) -> None:
    """A file of exactly the cap is read, one byte more is not."""
    path = tmp_path / "f.yaml"
    path.write_text("#" * MAX_FILE_BYTES)
    load_source_map(path)
    path.write_text("#" * (MAX_FILE_BYTES + 1))

    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load_source_map(path)


def test_values_in_memory_obey_the_same_rules() -> None:
    """`parse_runtime_config` takes what any program built, cycles included."""
    circle: list[object] = []
    circle.append(circle)

    for data in (circle, {1: 2}, {"a": float("nan")}, {"a": {1, 2}}, {"a": b"x"}):
        with pytest.raises(ConfigError):
            source_map_of(data)
    assert source_map_of({"a": (1, 2)}).value == {"a": [1, 2]}
