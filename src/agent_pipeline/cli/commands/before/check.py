"""`check`: everything that can be known to be wrong before a run, without network, key or heavy import."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import trio

from agent_pipeline.cli.commands.before.engine_words import engine_object, engine_words
from agent_pipeline.cli.commands.config_file import find_config
from agent_pipeline.cli.commands.folders import check_folder
from agent_pipeline.cli.commands.stage_names import check_stage
from agent_pipeline.cli.output import out, paragraphs, print_json, say
from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.engine_wanted import check_engine
from agent_pipeline.compose.source import source_name, source_spec
from agent_pipeline.compose.tables import check_tables
from agent_pipeline.config.limits import LimitsConfig, RequestsInFlightConfig
from agent_pipeline.config.live import load_live_settings
from agent_pipeline.config.pipeline import BudgetConfig, PipelineConfig, load_pipeline_config
from agent_pipeline.config.roles import resolve_role
from agent_pipeline.config.worst_case import WorstCase, crowded_minute, worst_case
from agent_pipeline.documents import Source, open_source
from agent_pipeline.gateway.endpoints import missing_keys
from agent_pipeline.stages import BUILT_IN


@dataclass(frozen=True, slots=True)
class _Counts:
    """Entries of a source that is in memory anyway."""

    documents: int
    skipped: int
    invalid: int


def check_config(config: Path | None, *, as_json: bool) -> int:
    """Check a pipeline and print what it would run; return 0.

    Nothing is created, no stage is imported, no provider is asked.

    Raises:
        ConfigError: a file or a stage in it is wrong, or its engine is not there.
        UnknownRoleError: a stage needs a role that is not there.
        InputError: the source or a directory can't be used.
    """
    loaded = load_pipeline_config(find_config(config))
    if loaded.live is not None:
        load_live_settings(loaded.live, loaded)
    for stage in loaded.stages:
        built_in = BUILT_IN.get(stage.name)
        roles = (check_stage(stage.name, beside=loaded.path.parent) if built_in is None else built_in).roles
        for role in roles:
            resolve_role(loaded.runtime, role)
    check_folder(loaded.artifacts, "artifacts")
    check_folder(loaded.logs, "logs")
    check_tables(loaded)
    check_engine(loaded, RunOptions())
    for table in loaded.results:
        check_folder(table.parent, "results")
    spec = source_spec(loaded.source)
    source = open_source(spec)
    # A file is not opened here: some take seconds to convert.
    files = None if source.files is None else Counter(path.suffix.lower() for path in source.files())
    counts = None if source.count_hint is None or files is not None else trio.run(_count, source)
    missing = {name: loaded.runtime.providers[name].env_key or "" for name in missing_keys(loaded.runtime)}
    for provider, variable in missing.items():
        say(f"warning: no key for {provider}: {variable} is not set; a run needs it, or --offline")
    if crowd := crowded_minute(loaded.limits, None if counts is None else counts.documents):
        say(f"warning: {crowd}")
    if counts is not None and counts.skipped + counts.invalid:
        say(f"warning: {counts.skipped} entries of the source would be skipped, {counts.invalid} are not usable")
    if as_json:
        print_json(_as_object(loaded, counts, files, missing))
    else:
        out().write(_as_text(loaded, counts, files))
        out().flush()
    return 0


async def _count(source: Source) -> _Counts:
    kinds: Counter[str] = Counter()
    async with aclosing(source.entries()) as entries:
        async for entry in entries:
            kinds["skipped" if entry.skipped else "invalid" if entry.error else "documents"] += 1
    return _Counts(kinds["documents"], kinds["skipped"], kinds["invalid"])


def _as_object(
    config: PipelineConfig, counts: _Counts | None, files: Counter[str] | None, missing: dict[str, str]
) -> dict[str, object]:
    total = None if counts is None else counts.documents + counts.skipped + counts.invalid
    return {
        "config": str(config.path),
        "name": config.name,
        "valid": True,
        "exit_code": 0,
        "stages": [stage.name for stage in config.stages],
        "roles": {
            name: {"provider": role.provider, "model": role.model, "mode": role.mode.value}
            for name, role in config.runtime.roles.items()
        },
        "source": source_name(config),
        "documents": {
            "total": total,
            "usable": None if counts is None else counts.documents,
            "skipped": None if counts is None else counts.skipped,
            "invalid": None if counts is None else counts.invalid,
            "files": None if files is None else dict(files.most_common()),
        },
        "artifacts": str(config.artifacts),
        "logs": str(config.logs),
        "results": [str(table) for table in config.results],
        "limits": config.limits.model_dump(mode="json"),
        "engine": engine_object(config),
        "worst_case_seconds": dataclasses.asdict(_worst_case(config, counts)),
        "missing_keys": missing,
    }


def _worst_case(config: PipelineConfig, counts: _Counts | None) -> WorstCase:
    return worst_case(config.limits, None if counts is None else counts.documents)


def _as_sentence(config: PipelineConfig, counts: _Counts | None) -> str:
    longest = _worst_case(config, counts)
    named = [
        (f"a request ({config.limits.retry.max_attempts} attempts)", longest.request),
        ("a stage", longest.stage),
        ("a document", longest.document),
        ("the run", longest.run),
    ]
    return ", ".join(f"{name} {'without end' if time is None else f'{time:,.0f} s'}" for name, time in named)


def _budget(budget: BudgetConfig, *, none: str = "") -> str:
    tokens = none if budget.tokens is None else f"{budget.tokens:,} tokens"
    return ", ".join(part for part in (tokens, "" if budget.usd is None else f"${budget.usd}") if part)


def _requests(limits: RequestsInFlightConfig) -> str:
    if limits.min == limits.max:
        return f"{limits.max} requests"
    return f"{limits.start} requests (later {limits.min} to {limits.max})"


def _per_minute(limits: LimitsConfig) -> str:
    requests = "" if limits.requests_per_minute is None else f"{limits.requests_per_minute:,} requests"
    tokens = "" if limits.tokens_per_minute is None else f"{limits.tokens_per_minute:,} tokens"
    return " and ".join(part for part in (requests, tokens) if part)


def _more_limits(config: PipelineConfig) -> Iterator[str]:
    """Yield what else limits the run, where it does."""
    if per_minute := _per_minute(config.limits):
        yield f"{per_minute} a minute, to each provider and model"
    if own := _budget(config.limits.budget_per_document):
        yield f"each document {own}"
    for name, role in config.runtime.roles.items():
        if own := _budget(BudgetConfig(tokens=role.budget_tokens, usd=role.budget_usd)):
            yield f"role {name} {own}"
    if config.live is not None:
        yield f"read again while the run goes on: {config.live}"


def _known(counts: _Counts | None, files: Counter[str] | None) -> str:
    if files is not None:
        kinds = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in files.most_common(8))
        return f"{files.total():,} {'file' if files.total() == 1 else 'files'} ({kinds}), read when their turn comes"
    return "counted when the run reads them" if counts is None else f"{counts.documents}"


def _as_text(config: PipelineConfig, counts: _Counts | None, files: Counter[str] | None) -> str:
    limits = config.limits
    lines = [
        f"{config.path}: valid",
        f"name:       {config.name}",
        f"stages:     {' > '.join(stage.name for stage in config.stages)}",
        *(
            f"{'roles:' if position == 0 else '':<11} {name} -> {role.provider}/{role.model}"
            + ("" if role.fallback is None else f", or {role.fallback}")
            for position, (name, role) in enumerate(config.runtime.roles.items())
        ),
        f"source:     {source_name(config)}",
        f"documents:  {_known(counts, files)}",
        f"limits:     {limits.documents_in_flight} documents and {_requests(limits.requests_in_flight)} in flight, "
        + _budget(limits.budget, none="no token budget"),
        *(f"{'':<11} {line}" for line in _more_limits(config)),
        *(f"engine:     {words}" for words in engine_words(config)),
        f"worst case: {_as_sentence(config, counts)}",
        f"artifacts:  {config.artifacts}",
        f"logs:       {config.logs}",
        *(f"results:    {table}" for table in config.results),
    ]
    return paragraphs("\n".join(lines)) + "\n"
