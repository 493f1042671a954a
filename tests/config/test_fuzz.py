"""Whatever a file holds, loading it ends in a config or in a ConfigError."""

import json
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.config.roles import load_runtime_config, parse_runtime_config
from agent_pipeline.errors import ConfigError

Given = TypeVar("Given")

CONFIGS = Path(__file__).parents[2] / "configs"
VALID = [(CONFIGS / name).read_bytes() for name in ("roles.yaml", "smoke.yaml", "smoke_gpt5_nano.json")]
SNIPPETS = [
    b"&a ", b"*a", b"!!str ", b"! ", b"---\n", b"%YAML 1.1\n", b"<<: ", b"? ", b"- ", b"[", b"]", b"{", b"}", b":",
    b"\t", b'"', b"'", b"|\n", b">-\n", b"\x00", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\\ud800", b'"\\UFFFFFFFF"',
    b".nan", b"1e999", b"9" * 5000, b"no", b"null", b"~", b"-1", b"true", b"x: y\n", b"#", b",", b"\r",
    b"[" * 100, b"- " * 100,
]  # fmt: skip

fuzz = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def refusal(load: Callable[[Given], object], given: Given) -> ConfigError | None:
    """Return why this is refused, None if it is not; anything but a ConfigError is raised."""
    try:
        load(given)
    except ConfigError as error:
        return error
    return None


def load_both(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(data)
        (Path(folder) / "roles.yaml").write_bytes(VALID[0])
        refusals = [refusal(load_runtime_config, path), refusal(load_pipeline_config, path)]
        assert all(error.place.startswith(folder) for error in refusals if error is not None), "an error names its file"


HOSTILE = [
    b".nan", b"-.inf", b"1e999", b"9" * 5000, b"-" + b"9" * 5000, b"0x" + b"f" * 5000, b"1_0", b"012", b"0o17",
    b"&a [*a]", b"&a {x: *a}", b"*nobody", b"!!python/object/apply:os.system [ls]", b"!!int x", b"!!binary x",
    b"!!set {a}", b"!custom {a: 1}", b"!!timestamp x", b"2024-01-01", b"2024-99-99", b"12:30:45", b"<<: {a: b}",
    b"no", b"null", b"true", b"[" * 40 + b"]" * 40, b"[" * 5000, b"{a: " * 40 + b"}" * 40, b"{a: " * 5000,
    b"- " * 2000, b"x" * 2000, b'"\\ud800"', b'"\\x00"', b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"? [a, b]", b"{[a]: b}", b"{1: 2}", b"{.nan: 1}", b"{null: 1}", b"[1, [2, {3: 4}]]", b"-1", b"0", b"''", b"' '",
    b"/", b"..", b"a" * 300, b"a/" * 300, b"{a: 1, a: 2}", b"1e-400",
]  # fmt: skip


def hostile_value(valid: bytes, seed: int) -> bytes:
    """Return a valid file in which one or two values are something nobody would write there."""
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 2)):
        places = [match.span(1) for match in re.finditer(rb":[ ]*([^\s,{}\[\]#][^\n,}\]]*)", valid)]
        if places:
            begin, end = dice.choice(places)
            valid = valid[:begin] + dice.choice(HOSTILE) + valid[end:]
    return valid


@fuzz
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_at_worst_a_config_error(data: bytes) -> None:
    """No parser's own exception, no RecursionError, no hang."""
    load_both(data)


@fuzz
@given(soup=st.lists(st.sampled_from(SNIPPETS), max_size=20).map(b"".join))
def test_yaml_syntax_in_any_order_is_at_worst_a_config_error(soup: bytes) -> None:
    """Random bytes seldom reach the deeper states of the parser; its own tokens do."""
    load_both(soup)


def damaged(valid: bytes, seed: int, edits: int) -> bytes:
    """Return a file with some of its bytes exchanged, doubled or gone."""
    dice = random.Random(seed)
    data = bytearray(valid)
    for _ in range(edits):
        begin = dice.randrange(len(data))
        end = min(begin + dice.choice([0, 1, 5, 40]), len(data))
        data[begin:end] = dice.choice([b"", dice.choice(SNIPPETS), bytes(data[begin:end]) * 2, dice.randbytes(2)])
        data = data or bytearray(b"{}")
    return bytes(data)


@fuzz
@given(valid=st.sampled_from(VALID), seed=st.integers(0, 2**32), edits=st.integers(1, 4))
def test_a_damaged_valid_file_is_at_worst_a_config_error(valid: bytes, seed: int, edits: int) -> None:
    """Mutants of valid files reach the models and the cross-checks."""
    load_both(damaged(valid, seed, edits))


@settings(fuzz, max_examples=100)
@given(valid=st.sampled_from(VALID), seed=st.integers(0, 2**32))
def test_a_value_out_of_place_is_at_worst_a_config_error(valid: bytes, seed: int) -> None:
    """Depth, aliases, tags, numbers without end: each where a plain value belongs."""
    load_both(hostile_value(valid, seed))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["project", "env", "providers", "roles", "defaults", "p", "params", "model", "provider"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@fuzz
@given(data=anything)
def test_arbitrary_values_are_at_worst_a_config_error(data: object) -> None:
    """`parse_runtime_config` takes what other programs hand over."""
    error = refusal(parse_runtime_config, data)

    assert error is None or error.problem


SEEDS = st.integers(0, 2**32)
ANY_FILE = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([*SNIPPETS, *HOSTILE]), max_size=6).map(b"".join),
    st.builds(damaged, st.sampled_from(VALID), SEEDS, st.integers(1, 4)),
    st.builds(hostile_value, st.sampled_from(VALID), SEEDS),
    anything.map(lambda value: json.dumps(value, default=str).encode()),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("load", [load_runtime_config, load_pipeline_config])
def test_none_of_ten_thousand_files_is_worse_than_a_config_error(load: Callable[[Path], object]) -> None:
    """The same with enough examples to meet rare ones; some have to be valid for it to mean something."""
    ended = {"loaded": 0, "refused": 0}

    @settings(fuzz, max_examples=10_000)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_bytes(data.draw(ANY_FILE))
            (Path(folder) / "roles.yaml").write_bytes(VALID[0])
            error = refusal(load, path)
        ended["loaded" if error is None else "refused"] += 1
        str(error).encode()

    check()

    print(f"{load}: {sum(ended.values()):,} hostile files: {ended}")  # noqa: T201 - the figure is the point
    assert sum(ended.values()) >= 10_000
    assert min(ended.values()) > 0
