"""A job that is closed says so, and one whose key is missing what a program can do about it."""

from pathlib import Path

import pytest

from agent_pipeline.batch import BatchAPIProcessor
from agent_pipeline.config.roles import parse_runtime_config
from agent_pipeline.errors import EnvVarMissingError

RUNTIME = parse_runtime_config(
    {
        "project": "p",
        "env": "e",
        "providers": {"openai": {"env_key": "TESTS_KEY"}},
        "roles": {"r": {"provider": "openai", "model": "m"}},
    }
)


def test_a_closed_job_says_so_by_its_name(tmp_path: Path) -> None:
    batch: BatchAPIProcessor[str, None] = BatchAPIProcessor(role="r", directory=tmp_path / "job", runtime=RUNTIME)
    batch.close()

    with pytest.raises(RuntimeError, match=r"^this BatchAPIProcessor is closed; make a new one$"), batch:
        pass


def test_a_missing_key_is_asked_for_where_a_program_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads no `.env`, and has no `--offline`."""
    monkeypatch.delenv("TESTS_KEY", raising=False)
    batch: BatchAPIProcessor[str, None] = BatchAPIProcessor(role="r", directory=tmp_path / "job", runtime=RUNTIME)

    with batch, pytest.raises(EnvVarMissingError) as caught:
        batch.process_all_sync()

    assert str(caught.value).endswith("Set it in the environment (export TESTS_KEY=<the key>)")
