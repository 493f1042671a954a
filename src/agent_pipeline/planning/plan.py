"""A plan, from config and source to what would be needed, and by what it is limited."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.engine_wanted import documents_in_flight
from agent_pipeline.compose.process import documents_that_fit
from agent_pipeline.compose.source import source_spec
from agent_pipeline.compose.stage_plan import plan_stages
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.worst_case import WorstCase, crowded_minute, worst_case
from agent_pipeline.documents import Source, open_source
from agent_pipeline.documents.names import candidate_names, folded
from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.usage import NOTHING_SPENT, Spending
from agent_pipeline.ledger import open_reader
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.planning.binding import USUAL_LATENCY, Binding, bind
from agent_pipeline.planning.estimate import StageEstimate, estimate
from agent_pipeline.planning.history import History, history_of, newest_history
from agent_pipeline.planning.needs import BYTES_PER_TOKEN, Need, needs_of
from agent_pipeline.planning.remaining import Remaining, spent_in
from agent_pipeline.planning.survey import StagesKept, Survey, Surveyor, Threshold


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would need.

    Attributes:
        survey: of the source; None for standard input, which can be read only once.
        stages: what each would need; empty without a survey.
        history: the run whose figures `expected` follows.
        spent: what the run was charged so far, where one is gone on with.
        in_flight: documents at once that this process can have, or all workers together.
        crowd: what is wrong with many documents under few requests a minute; None for nothing.
        assumptions: what nobody can know, and is taken to be so.
    """

    config: PipelineConfig
    survey: Survey | None
    stages: tuple[StageEstimate, ...]
    history: History | None
    spent: Spending
    worst: WorstCase
    binding: Binding | None
    in_flight: int
    crowd: str | None
    assumptions: tuple[str, ...]

    @property
    def tokens_left(self) -> int | None:
        """What the run's budget lets be used from now on; None for no budget."""
        return _left(self.config.limits.budget.tokens, self.spent.tokens)

    @property
    def micro_usd_left(self) -> int | None:
        """Likewise, of money."""
        return _left(self.config.limits.budget.micro_usd, self.spent.micro_usd)


def _documents_at_once(config: PipelineConfig) -> int:
    if config.engine.kind != "local":
        return documents_in_flight(config)
    return documents_that_fit(
        config.limits.documents_in_flight,
        connections=config.limits.requests_in_flight.start,
        per_loop=bridges.DESCRIPTORS_PER_LOOP,
    )


def make_plan(config: PipelineConfig, options: RunOptions) -> Plan:
    """Plan a run, or what is left of the one that `options` name; outside of Trio only.

    Reads the source once and the ledger of an earlier run, imports the stages; makes nothing, asks nobody.

    Raises:
        AgentPipelineError: config, stages or source can't be used.
    """
    stages = plan_stages(config, options)
    needs = needs_of(stages, config)
    source = open_source(source_spec(config.source), limit=options.limit, threaded=False)
    fit = _documents_at_once(config)
    if config.source.stdin:
        return _without_count(config, fit)
    history, spent, survey = _look(config, options, stages, needs, source)
    estimates = tuple(
        estimate(
            need,
            wanted=wanted,
            at_most=survey.sizes,
            history=None if history is None else history.stages.get(need.stage),
            max_attempts=config.limits.retry.max_attempts,
        )
        for need, wanted in zip(needs, survey.by_stage, strict=True)
    )
    budget = config.limits.budget
    binding = bind(
        needs,
        estimates,
        survey.sizes,
        config.limits,
        in_flight=fit,
        latency=_latency(history),
        tokens_left=_left(budget.tokens, spent.tokens),
        micro_usd_left=_left(budget.micro_usd, spent.micro_usd),
    )
    count = survey.sizes.count if survey.is_complete else None
    worst, crowd = worst_case(config.limits, count), crowded_minute(config.limits, count)
    assumptions = tuple(_assumptions(needs, history))
    return Plan(config, survey, estimates, history, spent, worst, binding, fit, crowd, assumptions)


def _look(
    config: PipelineConfig,
    options: RunOptions,
    stages: Sequence[PlannedStage],
    needs: Sequence[Need],
    source: Source,
) -> tuple[History | None, Spending, Survey]:
    """Read the earlier run, what it spent where it is gone on with, and the source."""
    history: History | None
    kept: StagesKept = _nothing_kept
    spent = NOTHING_SPENT
    with ExitStack() as stack:
        if options.run is None:
            history = newest_history(config.logs, config.name)
        else:
            history = history_of(options.run)
            ledger = stack.enter_context(open_reader(options.run.ledger))
            spent = spent_in(ledger)
            kept = Remaining(ledger, stages, config, retry_failed=options.retry_failed)
        surveyor = Surveyor(len(stages), list(_thresholds(needs)), history, kept, _name_of(stages))
        return history, spent, trio.run(surveyor.read, source)


def _without_count(config: PipelineConfig, fit: int) -> Plan:
    worst, crowd = worst_case(config.limits, None), crowded_minute(config.limits, None)
    return Plan(config, None, (), None, NOTHING_SPENT, worst, None, fit, crowd, ())


def _nothing_kept(_entry: SourceEntry) -> frozenset[int] | None:
    return frozenset()


def _left(total: int | None, spent: int) -> int | None:
    return None if total is None else max(0, total - spent)


def _latency(history: History | None) -> float:
    if history is None or history.simulated or not history.latency:
        return USUAL_LATENCY
    return history.latency


def _name_of(stages: Sequence[PlannedStage]) -> Callable[[Document], str] | None:
    def plain(document: Document) -> str:
        return folded(next(candidate_names(document)))

    return None if any(planned.stage.name == "name" for planned in stages) else plain


def _thresholds(needs: Sequence[Need]) -> Iterator[Threshold]:
    """Yield the sizes of text from which on a model can't read, or can't rewrite, a document."""
    for need in needs:
        for asked in {chain[0].role: chain[0] for chain in need.chains}.values():
            who = f"role {asked.role} ({asked.model})"
            if asked.window is not None:
                room = (asked.window - (asked.cap or 0)) * BYTES_PER_TOKEN // need.texts
                yield Threshold(room, f"too long for the {asked.window:,} tokens of {who}")
            if need.rewrites and asked.cap is not None:
                yield Threshold(
                    asked.cap * BYTES_PER_TOKEN,
                    f"longer than an answer of {who} may be: {asked.cap:,} tokens (params.max_tokens)",
                )


def _assumptions(needs: Sequence[Need], history: History | None) -> Iterator[str]:
    for need in needs:
        known = None if history is None else history.stages.get(need.stage)
        if need.is_silent and known is None:
            yield f"stage {need.stage} declares no role, so it is taken to ask no model"
        elif need.is_silent:
            yield f"stage {need.stage} declares no role, but asked some in the earlier run: no bound is known"
        elif need.is_own:
            calls = 1 if known is None else max(1, known.most_calls)
            of = "nobody knows how often it asks" if known is None else "so often it asked in the earlier run"
            many = "1 request" if calls == 1 else f"{calls} requests"
            yield f"stage {need.stage}: at most {many} in a pass, with the document once in each ({of})"
        for asked in {one.role: one for chain in need.chains for one in chain}.values():
            if asked.cap is None:
                yield f"role {asked.role} has no output cap (params.max_tokens): tokens have no upper bound"
            if asked.price is None:
                yield f"no price is known for {asked.model!r} of {asked.provider!r}: write it under `prices`"
