"""A run as it was begun: what its ledger keeps of the command line, and how to go on with it."""

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import Overrides, PipelineConfig
from agent_pipeline.errors import LedgerError, RunDirectoryError, RunInUseError
from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.directory import RunDirectory, find_run

_KEPT_OPTIONS = ("limit", "only", "skip", "offline", "fail_on_error", "include_texts", "faults", "seed")
"""What a run is, and does not depend on who runs it where."""

_KEPT_PATHS = ("record", "replay")
"""Likewise; runs of earlier versions do not know them."""


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run that can be gone on with.

    Attributes:
        config: path of its pipeline file.
        overrides: what its command line changed of the files.
        options: what it was told beyond them; they name the run.
    """

    directory: RunDirectory
    config: Path
    overrides: Overrides
    options: RunOptions


@contextmanager
def held(directory: RunDirectory) -> Generator[None]:
    """Hold the run for this process.

    Raises:
        RunInUseError: another process does; it is named.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(directory.locked())
        except RunInUseError as exc:
            raise RunInUseError(f"{exc}{_holder(directory)}") from None
        yield


def _holder(directory: RunDirectory) -> str:
    """Say who works on a run, as its ledger knows."""
    try:
        with open_reader(directory.ledger) as ledger:
            last = [session for session in ledger.sessions() if session.ended_at is None][-1:]
    except LedgerError:
        return ""  # it may be in the middle of making it
    return "".join(f": process {one.pid} on {one.host}, since {one.started_at}" for one in last)


def remembered(config: PipelineConfig, options: RunOptions) -> str:
    """Return as JSON what of a command line has to be kept to go on with its run."""
    kept: dict[str, object] = {name: getattr(options, name) for name in _KEPT_OPTIONS}
    if options.faults is not None:
        kept["faults"] = str(Path(options.faults).absolute())
    for name in _KEPT_PATHS:
        path = getattr(options, name)
        kept[name] = None if path is None else str(Path(path).absolute())
    overrides = config.overrides
    kept["overrides"] = {
        "budget_tokens": overrides.budget_tokens,
        "budget_usd": None if overrides.budget_usd is None else str(overrides.budget_usd),
        "documents_in_flight": overrides.documents_in_flight,
        "run_timeout": overrides.run_timeout,
        "role_models": dict(overrides.role_models),
        "base_urls": dict(overrides.base_urls),
    }
    return json.dumps(kept, sort_keys=True)


def find_earlier_run(run: str | Path, logs: Path) -> EarlierRun:
    """Find a run and what it was begun with; nothing is changed.

    Raises:
        RunDirectoryError: there is no such run, or what it left can't be used.
    """
    directory = find_run(str(run), logs)
    try:
        with open_reader(directory.ledger) as ledger:
            known = ledger.run
    except LedgerError as exc:
        raise RunDirectoryError(str(exc)) from exc
    if known.run_id != directory.run_id:
        msg = f"{directory.path}: its ledger is that of another run, {known.run_id}; was the directory renamed?"
        raise RunDirectoryError(msg)
    if known.config_path is None or not Path(known.config_path).is_file():
        msg = (
            f"{directory.path}: its pipeline file {known.config_path} is gone; "
            "put it back (the run directory holds a copy, config.yaml)"
        )
        raise RunDirectoryError(msg)
    try:
        options, overrides = _recalled(json.loads(known.options_json))
    except (KeyError, TypeError, ValueError, ArithmeticError) as exc:
        raise RunDirectoryError(f"{directory.path}: its ledger's options can't be read: {exc!r}") from exc
    return EarlierRun(directory, Path(known.config_path), overrides, replace(options, run=directory))


def _recalled(kept: Mapping[str, Any]) -> tuple[RunOptions, Overrides]:
    values: dict[str, Any] = {name: kept[name] for name in _KEPT_OPTIONS} | {
        name: kept.get(name) for name in _KEPT_PATHS
    }
    values |= {name: tuple(values[name]) for name in ("only", "skip")}
    changed = dict(kept["overrides"])
    if changed["budget_usd"] is not None:
        changed["budget_usd"] = Decimal(changed["budget_usd"])
    return RunOptions(**values), Overrides(**changed)


def merge(earlier: Overrides, later: Overrides) -> Overrides:
    """Return the overrides of a run, with those of the command line that goes on with it over them."""
    given = {
        name: value
        for name in ("budget_tokens", "budget_usd", "documents_in_flight", "run_timeout")
        if (value := getattr(later, name)) is not None
    }
    return replace(
        earlier,
        **given,
        role_models={**earlier.role_models, **later.role_models},
        base_urls={**earlier.base_urls, **later.base_urls},
        engine=later.engine,
    )
