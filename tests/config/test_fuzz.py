"""Whatever a file holds, loading it ends in a config or in a ConfigError."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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


@fuzz
@given(valid=st.sampled_from(VALID), seed=st.integers(0, 2**32), edits=st.integers(1, 4))
def test_a_damaged_valid_file_is_at_worst_a_config_error(valid: bytes, seed: int, edits: int) -> None:
    """Mutants of valid files reach the models and the cross-checks."""
    dice = random.Random(seed)
    data = bytearray(valid)
    for _ in range(edits):
        begin = dice.randrange(len(data))
        end = min(begin + dice.choice([0, 1, 5, 40]), len(data))
        data[begin:end] = dice.choice([b"", dice.choice(SNIPPETS), bytes(data[begin:end]) * 2, dice.randbytes(2)])
        data = data or bytearray(b"{}")

    load_both(bytes(data))


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
