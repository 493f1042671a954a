"""Recording and replay in a run: which pool of connections it gets, and what is kept of it in the end."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from agent_pipeline import gateway as gateways
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.records import Records
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.domain.result import RecordingTotals
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.endpoints import secrets_in_recordings
from agent_pipeline.gateway.recording import (
    Index,
    Likeness,
    Recording,
    begin_recording,
    check_recordable,
    folders_of,
    open_recording,
)

if TYPE_CHECKING:
    from agent_pipeline.gateway import ConnectionPool


class _Counting(Protocol):
    def totals(self) -> RecordingTotals: ...


@dataclass(frozen=True, slots=True)
class Tape:
    """How a run reaches its providers, and who counts what is recorded or replayed.

    Attributes:
        make_pool: of connections, or of what stands in their place.
        counting: None where nothing is recorded or replayed.
    """

    make_pool: "Callable[[], ConnectionPool]"
    counting: _Counting | None = None

    def totals(self) -> RecordingTotals | None:
        """Return what was recorded or replayed in this session."""
        return None if self.counting is None else self.counting.totals()


def choose_recording(options: RunOptions) -> Recording | None:
    """Return the recording that is replayed, if one is; see that a run may be recorded where it is to be.

    Raises:
        ConfigError: both are asked for, or a replay with the simulator.
        RecordingError: the directory can't be used; nothing was created.
    """
    if options.record is not None:
        if options.replay is not None:
            raise ConfigError("a run is recorded or replayed, not both")
        check_recordable(Path(options.record), None if options.run is None else options.run.run_id)
    if options.replay is None:
        return None
    if options.offline:
        raise ConfigError("a replay asks nobody, the simulator neither: leave out replay or offline")
    return open_recording(Path(options.replay))


async def open_tape(
    stack: AsyncExitStack,
    config: PipelineConfig,
    options: RunOptions,
    records: Records,
    *,
    replayed: Recording | None,
    base_urls: Mapping[str, str],
) -> Tape:
    """Open what records or replays; closed with the stack, after the connections.

    Args:
        stack: of the run.
        config: of the run.
        options: may name a recording to make.
        records: of the run.
        replayed: the recording to replay.
        base_urls: of the providers, by id, as they are asked.

    Raises:
        RecordingError: the recording can't be made.
    """
    threaded = not options.virtual
    likeness = Likeness(secrets_in_recordings(config.runtime), folders_of(config.path.parent.absolute(), Path.cwd()))
    if replayed is not None:
        pace = trio.sleep if options.virtual else gateways.at_once
        likeness = replace(likeness, folders={**replayed.index.folders, **likeness.folders})
        replay = gateways.Replay(replayed, likeness, threaded=threaded, pace=pace)
        return Tape(lambda: gateways.replay_pool(replay), replay)
    make_pool = options.make_pool or gateways.ConnectionPool
    if options.record is None:
        return Tape(make_pool)
    index = Index(
        run_id=records.directory.run_id,
        pipeline=config.name,
        config_sha256=hashlib.sha256(config.text.encode()).hexdigest(),
        created_at=records.started_at.isoformat(),
        simulator=options.offline,
        providers={one: records.redactor.text(url) for one, url in base_urls.items()},
        folders=likeness.folders,
    )
    recording = begin_recording(Path(options.record), index)
    recorder = await stack.enter_async_context(
        gateways.open_recorder(recording, likeness, session=records.session.number, threaded=threaded)
    )
    return Tape(lambda: gateways.recording_pool(make_pool, recorder), recorder)
