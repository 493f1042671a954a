"""`engine:` of a pipeline file, and its flags."""

from typing import Any

import pytest
from tests.config.pipeline_files import HEAD, Load, refusal

from agent_pipeline.config.pipeline import EngineConfig, EngineOverrides, Overrides


def _flags(**values: Any) -> Overrides:  # noqa: ANN401 - as a file has them
    return Overrides(engine=EngineOverrides(**values))


def test_without_a_word_one_process_does_everything(load: Load) -> None:
    """Ray is an extra."""
    assert load(HEAD).engine == EngineConfig()
    assert load(HEAD).engine.kind == "local"


def test_the_command_line_stands_in_for_the_file_key_by_key(load: Load) -> None:
    """A file for the cluster is tried on a laptop, and one for a laptop on a cluster."""
    text = HEAD + "engine: {kind: ray, address: auto, workers: 8}\n"

    here = load(text, overrides=_flags(kind="local")).engine
    there = load(HEAD, overrides=_flags(kind="ray", address="head:6379", workers=3, shard_size=20)).engine

    assert (here.kind, here.workers) == ("local", 8)
    assert there == EngineConfig(kind="ray", address="head:6379", workers=3, shard_size=20)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"workers": 3}, "command line: --workers: this is for runs on Ray: add --engine ray, or leave it out"),
        ({"kind": "ray", "workers": 0}, "command line: --workers: the value should be greater than 0"),
        ({"kind": "ray", "shard_size": 1001}, "command line: --shard-size: the value should be less than or equal to"),
        ({"kind": "ray", "address": "ray://head:10001"}, "command line: --ray-address: Ray's client (ray://) can't"),
        ({"kind": "ray", "address": "head"}, "command line: --ray-address: local, auto, or the address of"),
        ({"kind": "ray", "address": "he\x1bad:1"}, "command line: --ray-address: local, auto, or the address of"),
    ],
)
def test_a_flag_that_makes_no_sense_is_named(load: Load, flags: dict[str, object], said: str) -> None:
    """Before anything is started."""
    assert str(refusal(load, HEAD, overrides=_flags(**flags))).startswith(said)


def test_live_values_are_for_one_process(load: Load) -> None:
    """Workers would go on with the old ones."""
    text = HEAD + "live: live.json\nengine: {kind: ray}\n"

    error = refusal(load, text)

    assert error.key == "live"
    assert "--engine local" in str(error)
    assert load(text, overrides=_flags(kind="local")).live is not None


@pytest.mark.parametrize(("in_flight", "workers", "own", "each"), [(100, 2, None, 50), (5, 2, None, 3), (100, 2, 7, 7)])
def test_a_worker_has_its_share_of_documents_or_what_it_is_told(
    in_flight: int, workers: int, own: int | None, each: int
) -> None:
    """`documents_in_flight` means the same on every engine."""
    assert EngineConfig(workers=workers, worker_concurrency=own).concurrency_of(in_flight) == each
