"""A rehearsal from a config to what was seen: takes first where documents need stand-ins, then the run itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import trio

from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.source import source_spec
from agent_pipeline.config.limits import BudgetConfig
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import open_source
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import InputError
from agent_pipeline.rehearsal.cast import MOST_ORIGINALS, Cast, choose_cast
from agent_pipeline.rehearsal.observed import Observed, Spent
from agent_pipeline.rehearsal.stand_ins import StandIns
from agent_pipeline.rehearsal.takes import Takes
from agent_pipeline.rehearsal.virtual_run import VirtualRun
from agent_pipeline.simulator import FaultPlan, Simulator

USUAL_DOCUMENTS = 1000
"""Documents that are rehearsed where nobody says how many, and the source has more."""

MOST_REMEMBERED = 8 * MOST_ORIGINALS
"""Answers that the provider keeps, as stand-ins ask for the same again."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of a rehearsal.

    Attributes:
        result: of the run; its files are gone.
        observed: what was counted meanwhile.
        cast: who took part.
    """

    result: RunResult
    observed: Observed
    cast: Cast

    @property
    def finished(self) -> int:
        """Documents that ended well, or that a run would leave out."""
        return self.result.documents.succeeded

    @property
    def lost(self) -> int:
        """Documents that failed."""
        return self.result.documents.failed

    @property
    def at_risk(self) -> Spent:
        """What may have been spent for nothing: on documents that failed, or on requests that nobody confirmed."""
        risk = Spent()
        for part in (self.observed.wasted, self.observed.unconfirmed):
            risk.add_all(part)
        return risk

    @property
    def unfinished(self) -> int:
        """Documents that the run did not come to, or broke off; `resume` takes them up."""
        return self.cast.size - self.finished - self.lost


def rehearse(
    config: PipelineConfig,
    options: RunOptions,
    faults: FaultPlan,
    *,
    documents: int | None = None,
    announce: Callable[[Cast], object] = lambda _cast: None,
    on_finish: Callable[[int, float], object] = lambda _count, _seconds: None,
) -> Rehearsal:
    """Run a pipeline against the simulator in virtual time; outside of Trio only, in the main thread.

    Nothing of the user's is written, no network is used, no key is needed. On error and on Ctrl-C nothing is left.

    Args:
        config: the user's, with what the command line changes.
        options: which stages, how many documents at the most, the seed.
        faults: what goes wrong.
        documents: how many; None takes those of the source, `USUAL_DOCUMENTS` at most.
        announce: told who takes part, before anything runs.
        on_finish: called at the end of each document, with their number and the time of the run in seconds.

    Raises:
        AgentPipelineError: the pipeline, or its source, can't be used.
    """
    if config.source.stdin:
        raise InputError("documents that come on standard input can't be rehearsed; name a file with some of them")
    cast = trio.run(_choose, config, options, documents)
    if cast.size == 0:
        raise InputError("the source has no document to rehearse with")
    announce(cast)
    seed = options.seed or 0
    takes = take_down(config, options, cast, seed) if cast.stand_ins else None
    stand_ins = StandIns(cast.stand_ins, takes)
    observed = Observed(on_finish=on_finish)

    def see(runtime: Runtime) -> None:
        stand_ins.gateway = runtime.gateway

    result = VirtualRun(
        config=config,
        options=replace(options, limit=None, seed=seed),
        source=cast.source(),
        provider=Simulator(seed=seed, faults=faults, remembers=MOST_REMEMBERED if cast.stand_ins else 0),
        sink=observed,
        in_place_of=stand_ins.in_place_of,
        on_open=see,
    ).run()
    return Rehearsal(result, observed, cast)


async def _choose(config: PipelineConfig, options: RunOptions, documents: int | None) -> Cast:
    source = open_source(source_spec(config.source), limit=options.limit, threaded=False)
    if documents is not None:
        return await choose_cast(source, documents)
    return (await choose_cast(source, USUAL_DOCUMENTS)).without_repeats()


def take_down(config: PipelineConfig, options: RunOptions, cast: Cast, seed: int) -> Takes:
    """Let the originals run where nothing goes wrong and nothing is limited, and note what they ask for."""
    takes = Takes(seed=seed)
    VirtualRun(
        config=_unlimited(config),
        options=replace(options, limit=None, seed=seed),
        source=cast.originals_alone(),
        provider=takes,
        sink=takes,
        in_place_of=takes.taking_down,
    ).run()
    return takes


def _unlimited(config: PipelineConfig) -> PipelineConfig:
    none = BudgetConfig()
    changes = {"budget": none, "budget_per_document": none, "requests_per_minute": None, "tokens_per_minute": None}
    roles = {
        name: role.model_copy(update={"budget_tokens": None, "budget_usd": None})
        for name, role in config.runtime.roles.items()
    }
    return config.model_copy(
        update={
            "limits": config.limits.model_copy(update=changes),
            "runtime": config.runtime.model_copy(update={"roles": roles}),
        }
    )
