"""One stage on one document, offline: the shortest test a stage of one's own can have."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import Document, JsonValue
from agent_pipeline.errors import DocumentRejectedError, StageError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import PlannedStage, Stage
from agent_pipeline.simulator import Simulator

_ROLES: JsonValue = {
    "project": "test",
    "env": "test",
    "providers": {"openai": {}},
    "roles": {},
    "defaults": {"provider": "openai", "model": "gpt-5-mini", "params": {"max_tokens": 4000}},
}
_PIPELINE: JsonValue = {
    "name": "test",
    "roles": "roles.json",
    "source": {"path": "documents.json"},
    "artifacts": "artifacts",
    "logs": "logs",
    "stages": ["name"],  # the stage under test takes its place
}


def run_stage(stage: Stage, document: Document, *, options: Mapping[str, JsonValue] | None = None) -> Document:
    """Run a stage on a document as a pipeline would; return the document it makes. For ordinary test functions.

    The simulator answers, in this process: by rules, the same each time, without key, network or sockets. It answers
    for every role, whatever the roles file of the project says (`agent-pipeline check` looks at that). Everything a
    run writes goes to a temporary folder and is removed.

    Args:
        stage: made with `@stage`.
        document: with the text, fields and metadata it would come to the stage with.
        options: what the stage finds in `context.options`.

    Raises:
        DocumentRejectedError: the stage did not approve the document.
        Exception: what the stage raised, as it raised it.
        StageError: the stage returned what no stage may return.
        RuntimeError: called where an event loop runs already.
    """
    witness = _Witness(stage, document)
    with TemporaryDirectory(prefix="agent-pipeline-") as folder:
        root = Path(folder)
        for name, content in (
            ("roles.json", _ROLES),
            ("pipeline.json", _PIPELINE),
            ("documents.json", [{"id": document.id, "text": "It is given by the witness."}]),
        ):
            (root / name).write_text(json.dumps(content), encoding="utf-8")
        run_options = RunOptions(offline=True, virtual=True, seed=1, make_pool=lambda: simulator_pool(Simulator()))
        pipeline = Pipeline.from_config(root / "pipeline.json", options=run_options)
        watched = Stage(stage.name, witness.run, stage.role, stage.roles)
        pipeline.stages = (PlannedStage(watched, options=dict(options or {})),)
        result = trio.run(pipeline.run)
    if witness.raised is not None:
        raise witness.raised
    for failure in result.failures:
        raise (DocumentRejectedError if failure.code == DocumentRejectedError.code else StageError)(failure.error)
    assert witness.made is not None  # noqa: S101 - no failure and no error: it returned a document
    return witness.made


class _Witness:
    """Stands in the place of a stage: hands it the document, and sees what it makes or raises."""

    def __init__(self, stage: Stage, document: Document) -> None:
        self._stage = stage
        self._document = document
        self.made: Document | None = None
        self.raised: Exception | None = None

    async def run(self, _entry: Document, context: StageContext) -> Document:
        """Run the stage."""
        context.original = self._document
        try:
            self.made = await self._stage(self._document, context)
        except Exception as exc:
            self.raised = exc
            raise
        return self.made
