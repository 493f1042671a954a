"""Which engine works on the documents: this process, or workers on a Ray cluster."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from agent_pipeline.config.validation import ConfigModel

EngineKind = Literal["local", "ray"]


def _an_address(value: str) -> str:
    if value in {"local", "auto"}:
        return value
    if "://" in value:
        raise ValueError(
            "Ray's client (ray://) can't stream what workers report; start the run on a machine of the cluster, with "
            "auto, or hand it in with `ray job submit`"
        )
    host, separator, port = value.rpartition(":")
    if not (separator and host and value.isprintable() and " " not in value and port.isdecimal()):
        raise ValueError("local, auto, or the address of the cluster's head as host:port is wanted")
    return value


def _a_mapping(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("a mapping is wanted, for example {kind: ray}")  # noqa: TRY004 - pydantic takes this one
    return value


class EngineConfig(ConfigModel):
    """`engine:` of a pipeline file.

    Attributes:
        kind: `local` is this process; the other keys are for `ray`.
        address: `local` starts Ray on this machine for the run, `auto` finds the cluster that this machine belongs to,
            `host:port` is that of a cluster's head.
        workers: processes that work on documents.
        worker_concurrency: documents in flight in each; None gives each its share of `limits.documents_in_flight`.
        shard_size: documents that a worker is given at a time.
    """

    _of_a_word = model_validator(mode="before")(_a_mapping)

    kind: EngineKind = "local"
    address: Annotated[str, AfterValidator(_an_address)] = "local"
    workers: Annotated[int, Field(gt=0, le=10_000)] = 2
    worker_concurrency: Annotated[int, Field(gt=0, le=100_000)] | None = None
    shard_size: Annotated[int, Field(gt=0, le=1000)] = 50

    def concurrency_of(self, documents_in_flight: int) -> int:
        """Return how many documents are in flight in a worker, where so many are in flight in all."""
        return self.worker_concurrency or -(-documents_in_flight // self.workers)
