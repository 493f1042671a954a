"""Which job is taken up, and by whom: its directory, or a batch at the provider whose directory is lost."""

import shutil
from pathlib import Path

import pytest
import trio
from tests.batch_api.world import inputs, items, job, options, resumed, runtime, simulator
from trio.testing import MockClock

from agent_pipeline.batch.batch_api import BatchAPIProcessor
from agent_pipeline.batch.batch_api_input import BatchRequest
from agent_pipeline.errors import BatchJobError, RunInUseError


async def test_the_state_file_names_the_job_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It lies in the job's directory."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(1))
        first = await processor.process_all()
    async with BatchAPIProcessor[str, int].resume(str(tmp_path / "job.json"), **options(provider)) as processor:
        assert processor.directory == tmp_path
        second = await processor.process_all()

    assert [one.output for one in second.results] == [one.output for one in first.results]
    assert [one.context for one in second.results] == [None]


async def test_a_batch_whose_directory_is_lost_is_fetched_from_the_provider(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By its id: the provider has the requests, too, and the worst case is theirs."""
    provider = simulator(batch_delay=100)
    async with job(tmp_path / "lost", provider) as processor:
        await processor.add_all(items(3))
        with trio.move_on_after(50):
            await processor.process_all()
    (batch,) = provider._storage._batches.list()
    before = (tmp_path / "lost" / "job.json").read_text()
    shutil.rmtree(tmp_path / "lost")

    adopted = BatchAPIProcessor[str, int].resume(
        str(batch["id"]), role="writer", directory=tmp_path / "found", **options(provider)
    )
    async with adopted as processor:
        result = await processor.process_all()

    assert [(one.item_id, one.success) for one in result.results] == [(f"item {n}", True) for n in range(3)]
    assert len(provider._storage._batches.list()) == 1
    after = (tmp_path / "found" / "job.json").read_text()
    kept = ("worst_tokens", "worst_micro_usd", "size_bytes", "job_id", '"requests"')
    assert [line for line in after.splitlines() if any(name in line for name in kept)] == [
        line for line in before.splitlines() if any(name in line for name in kept)
    ]


async def test_two_processes_never_work_on_one_job(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The second is told."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(1))
        await processor.process_all()
        with pytest.raises(RunInUseError):
            async with resumed(tmp_path, provider):
                pass


async def test_input_that_was_never_complete_is_begun_anew(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nothing of it was sent, so there is nothing to resume."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(3))
    with pytest.raises(BatchJobError, match="there is no batch job"):
        async with resumed(tmp_path, provider):
            pass

    async with job(tmp_path, provider) as processor:
        await processor.add_work(BatchRequest("other", "Other."))
        result = await processor.process_all()

    assert [one.item_id for one in result.results] == ["other"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": 2}', "\x00"])
async def test_a_damaged_state_is_refused(autojump_clock: MockClock, tmp_path: Path, content: str) -> None:
    """It is left as it is."""
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(BatchJobError, match="no batch job that this version can read"):
        async with resumed(tmp_path, simulator()):
            pass

    assert (tmp_path / "job.json").read_text() == content


async def test_a_job_is_the_roles_it_was_made_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Another endpoint knows nothing of its batches."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(1))
        await processor.process_all()
    with pytest.raises(BatchJobError, match=r"/v1/responses.*/v1/embeddings"):
        async with resumed(tmp_path, provider, config=runtime(mode="embedding")):
            pass


async def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """Before anything is opened."""
    config = runtime()
    with pytest.raises(ValueError, match="exactly one of runtime and gateway"):
        BatchAPIProcessor(role="writer", directory=tmp_path)
    with pytest.raises(ValueError, match="discount"):
        BatchAPIProcessor(role="writer", directory=tmp_path, runtime=config, discount=50)
    with pytest.raises(ValueError, match="exclude each other"):
        BatchAPIProcessor(role="writer", directory=tmp_path, runtime=config, output_type=str, read_answer=str)
    with pytest.raises(BatchJobError, match="role and directory"):
        BatchAPIProcessor.resume("batch_1", runtime=config)
    assert not inputs(tmp_path)
