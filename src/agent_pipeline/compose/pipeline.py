"""A pipeline as users know it: from a config file to a result."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.earlier_artifacts import clean_artifacts
from agent_pipeline.compose.earlier_run import find_earlier_run, merge
from agent_pipeline.compose.engine_wanted import check_engine, see_engine
from agent_pipeline.compose.export import with_export
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import raise_descriptor_limit
from agent_pipeline.compose.proof import shutdown_proof
from agent_pipeline.compose.runtime import Runtime, choose_provider, load_libraries
from agent_pipeline.compose.session import run_session
from agent_pipeline.compose.source import source_spec
from agent_pipeline.compose.stage_plan import plan_stages
from agent_pipeline.compose.tables import check_tables
from agent_pipeline.compose.watch import open_watch
from agent_pipeline.compose.work import Work
from agent_pipeline.compose.written_secrets import refuse_written_secrets
from agent_pipeline.config.live import load_live_settings
from agent_pipeline.config.pipeline import Overrides, PipelineConfig, load_pipeline_config
from agent_pipeline.documents import Source, open_source
from agent_pipeline.domain.result import RunResult


class Pipeline:
    """Documents through stages, as a config file says.

    Args:
        config: checked, with its roles.
        options: beyond the config; `run` and `run_sync` may still set a limit.
    """

    def __init__(self, config: PipelineConfig, options: RunOptions | None = None) -> None:
        self.config = config
        self.options = options or RunOptions()
        self.stages = plan_stages(config, self.options)

    @classmethod
    def from_config(
        cls, path: str | Path, *, overrides: Overrides | None = None, options: RunOptions | None = None
    ) -> Self:
        """Load a pipeline from its file; nothing is created and no network is used.

        Raises:
            ConfigError: with `file:line:column`, key and what was probably meant.
        """
        return cls(load_pipeline_config(path, overrides), options)

    @classmethod
    def from_run(
        cls,
        run: str | Path,
        *,
        logs: str | Path = "logs",
        overrides: Overrides | None = None,
        options: RunOptions | None = None,
    ) -> Self:
        """Go on with a run, however it ended: `run` keeps what is finished and pays nothing twice.

        The pipeline file is read again; what changed in it takes effect from the first stage it concerns onward.

        Args:
            run: its directory, its name, or the beginning of its name.
            logs: where runs are looked for by name.
            overrides: over those the run was begun with.
            options: in place of those the run was begun with.

        Raises:
            RunDirectoryError: there is no such run, or what it left can't be used; nothing was changed.
            ConfigError: its pipeline file is wrong by now.
        """
        earlier = find_earlier_run(run, Path(logs))
        config = load_pipeline_config(earlier.config, merge(earlier.overrides, overrides or Overrides()))
        return cls(config, earlier.options if options is None else replace(options, run=earlier.directory))

    def run_sync(self, *, limit: int | None = None) -> RunResult:
        """Run from ordinary code; see `run`.

        Raises:
            RuntimeError: an event loop runs here; `run` is for Trio, `run_async` for asyncio.
        """
        _refuse_flavour("asyncio", "an asyncio loop runs here, as in a notebook: await pipeline.run_async()")
        _refuse_flavour("trio", "this is under Trio: await pipeline.run()")
        load_libraries()
        return trio.run(
            lambda: self.run(limit=limit),
            restrict_keyboard_interrupt_to_checkpoints=True,
            strict_exception_groups=True,
        )

    async def run_async(self, *, limit: int | None = None) -> RunResult:
        """Run from asyncio, in a notebook for example: in a thread with a Trio run of its own; see `run`.

        The caller's loop goes on meanwhile. A task that is cancelled, by Ctrl-C too, cancels the run, and goes on when
        the run has ended and all of its files are complete.

        Raises:
            RuntimeError: called under Trio, where `run` is to be awaited.
        """
        _refuse_flavour("trio", "this is under Trio: await pipeline.run()")
        return await bridges.run_in_own_thread(partial(self.run, limit=limit))

    async def run(self, *, limit: int | None = None) -> RunResult:
        """Work through the source under Trio; return how it ended.

        Every document that was admitted has exactly one terminal record in the ledger when this returns or raises,
        and every sink is flushed. A document that fails does not stop the others.

        On cancellation the documents in flight are cancelled, recorded as such, and all files are complete before
        `trio.Cancelled` goes on.

        Raises:
            InputError: the source can't be used at all, or a table of results can't be written.
            EnvVarMissingError: a provider has no key.
            ConfigError: the faults file, the live file or the OTLP endpoint can't be used, or a key is written in a
                config file.
            RecordingError: the recording that is to be made or replayed can't be.
        """
        options = self.options if limit is None else replace(self.options, limit=limit)
        refuse_written_secrets(self.config)
        if self.config.live is not None:
            load_live_settings(self.config.live, self.config)  # later a bad one changes nothing, now it would surprise
        check_tables(self.config)
        check_engine(self.config, options)
        source = self._open_source(options)
        provider = choose_provider(self.config, options)
        await see_engine(self.config, options)
        options = with_export(self.config, options)
        if options.own_process:
            raise_descriptor_limit()
        if options.clean:
            clean_artifacts(self.config)
        load_libraries()
        with open_watch(self.config.limits.timeouts, options) as watch, shutdown_proof() as proof:
            work = Work(self.config, options, self.stages, source, provider, self._on_open)
            return await run_session(work, watch, proof)

    def _open_source(self, options: RunOptions) -> Source:
        """Return the documents; a rehearsal has its own."""
        return open_source(source_spec(self.config.source), limit=options.limit, threaded=not options.virtual)

    def _on_open(self, runtime: Runtime) -> None:
        """Look at the open parts before the first document begins; for those who rehearse or watch a run."""


def _refuse_flavour(flavour: str, instead: str) -> None:
    if bridges.current_flavour() == flavour:
        raise RuntimeError(instead)
