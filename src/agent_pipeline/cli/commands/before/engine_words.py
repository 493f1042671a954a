"""What is said before a run of the engine that will work on its documents."""

from collections.abc import Iterator

from agent_pipeline.amounts import counted
from agent_pipeline.config.pipeline import PipelineConfig

_WHERE = {"local": "a cluster of its own on this machine", "auto": "the cluster of this machine"}


def engine_words(config: PipelineConfig) -> Iterator[str]:
    """Yield what the engine is, where it is another than this process."""
    engine = config.engine
    if engine.kind == "local":
        return
    each = engine.concurrency_of(config.limits.documents_in_flight)
    where = _WHERE.get(engine.address, f"the cluster at {engine.address}")
    yield (
        f"{engine.kind}, {where}: {counted(engine.workers, 'worker')} x {counted(each, 'document')} at once; "
        "they share the budgets and limits of the run"
    )


def engine_object(config: PipelineConfig) -> dict[str, object]:
    """Return the same for programs; `documents_in_flight` are those of each worker, None in one process."""
    engine = config.engine
    if engine.kind == "local":
        return {"kind": engine.kind, "workers": 0, "documents_in_flight": None, "address": None, "shard_size": None}
    return {
        "kind": engine.kind,
        "workers": engine.workers,
        "documents_in_flight": engine.concurrency_of(config.limits.documents_in_flight),
        "address": engine.address,
        "shard_size": engine.shard_size,
    }
