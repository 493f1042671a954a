"""Where a run writes what happens: its directory, sinks and ledger, opened first and closed last."""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.earlier_run import remembered
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.events import OrphansRemoved, RunResumed
from agent_pipeline.errors import InputError
from agent_pipeline.gateway.endpoints import redactor_of
from agent_pipeline.ledger import Ledger, Session, open_ledger, recorded_artifacts
from agent_pipeline.runs.directory import RunDirectory, create_run_directory
from agent_pipeline.telemetry import (
    EventsSink,
    HttpLogSink,
    Redactor,
    ReviewsSink,
    RunLogSink,
    SdkLogCapture,
    SdkTraceSink,
    Sink,
    Telemetry,
    continue_file,
    create_file,
    open_telemetry,
)


@dataclass(frozen=True, slots=True)
class Records:
    """Where a run writes what happens."""

    directory: RunDirectory
    telemetry: Telemetry
    ledger: Ledger
    started_at: datetime
    redactor: Redactor
    session: Session


def find_directory(config: PipelineConfig, options: RunOptions) -> tuple[RunDirectory, datetime]:
    """Return the directory of the run, a new one where none is gone on with."""
    started_at = datetime.now(UTC)
    if options.run is not None:
        return options.run, started_at
    ArtifactWriter(config.artifacts).prepare()  # a folder that can't be used is found before anything is made
    return create_run_directory(config.logs, config.name, now=started_at), started_at


async def open_records(
    stack: AsyncExitStack, config: PipelineConfig, options: RunOptions, directory: RunDirectory, started_at: datetime
) -> Records:
    """Open in the run's directory what is closed last: the sinks, the ledger, the SDK's traces."""
    threaded = not options.virtual
    redactor = redactor_of(config.runtime)
    sinks = _sinks(directory, redactor, options)
    try:
        directory.remove_temporary()
        directory.manifest.unlink(missing_ok=True)  # it tells of an end, and this is none
        directory.write("config.yaml", config.text)
        directory.write("roles.yaml", config.roles_text)
        telemetry = await stack.enter_async_context(open_telemetry(sinks, threaded=threaded))
    except OSError as exc:
        raise InputError(f"the logs in {config.logs} can't be written: {exc}") from exc
    ledger = await stack.enter_async_context(
        open_ledger(directory.ledger, threaded=threaded, create=options.run is None)
    )
    with trio.CancelScope(shield=True):  # cancelled here, the session would have begun and nobody would end it
        session = await ledger.begin_session(
            run_id=directory.run_id,
            name=config.name,
            started_at=started_at,
            config_sha256=hashlib.sha256(config.text.encode()).hexdigest(),
            version=version("agent-pipeline"),
            config_path=str(config.path.absolute()),
            options_json=remembered(config, options),
            pid=os.getpid(),
            host=platform.node(),
        )
    if session.number > 1:
        telemetry.emit(
            RunResumed(
                run_id=directory.run_id,
                session=session.number,
                interrupted_documents=session.interrupted_documents,
                interrupted_attempts=session.interrupted_attempts,
                charged_tokens=session.charged_tokens,
            )
        )
    if config.engine.kind == "local":  # else agents run in the workers only, which tell what they traced
        await stack.enter_async_context(
            bridges.open_sdk_tracing(telemetry.emit, run_id=directory.run_id, include_texts=options.include_texts)
        )
    return Records(directory, telemetry, ledger, started_at, redactor, session)


def recover(artifacts: ArtifactWriter, records: Records) -> None:
    """Make the artifacts folder ready: it can be written to, and what a killed session left half done is gone."""
    artifacts.prepare()
    if records.session.number > 1:
        gone = artifacts.recover(_recorded_paths(records.directory.ledger))
        if gone.temporary or gone.unrecorded:
            records.telemetry.emit(OrphansRemoved(gone.temporary, gone.unrecorded))


def _recorded_paths(ledger: Path) -> Iterator[str]:
    """Yield the paths of recorded artifacts; the ledger is read at the first, if anybody asks."""
    yield from (artifact.path for artifact in recorded_artifacts(ledger))


def _sinks(directory: RunDirectory, redactor: Redactor, options: RunOptions) -> list[Sink]:
    """Return the run's files as sinks, appended to where the run goes on, and what else was asked for."""
    if not options.keeps_logs:
        return [*options.sinks]
    open_with = create_file if options.run is None else continue_file
    return [
        RunLogSink(directory.log, redactor=redactor, open_with=open_with),
        EventsSink(directory.events, redactor=redactor, open_with=open_with),
        ReviewsSink(directory.reviews, redactor=redactor, open_with=open_with),
        SdkTraceSink(directory.sdk_traces, redactor=redactor, open_with=open_with),
        SdkLogCapture(directory.sdk_log, redactor=redactor, content=options.include_texts, open_with=open_with),
        HttpLogSink(redactor=redactor),
        *options.sinks,
    ]
