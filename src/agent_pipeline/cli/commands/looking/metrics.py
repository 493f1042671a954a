"""`metrics`: a run's figures as Prometheus reads them."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent_pipeline.cli.commands.hidden import without_secrets
from agent_pipeline.cli.commands.looking.looked_at import looking_at
from agent_pipeline.cli.output import one_line, print_json, print_results
from agent_pipeline.errors import InputError
from agent_pipeline.runs.metrics import metrics_of
from agent_pipeline.telemetry.exposition import Metric, exposition

_LONGEST_LABEL = 300


def print_metrics(run: str, *, output: Path | None, as_json: bool) -> int:
    """Print a run's figures, or put them in the place of a file; return 0.

    The run may be going on. Nothing of it is changed, no network is used.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        InputError: the file can't be written; an older one is as it was.
        ResultsError: stdout can't be written.
    """
    with looking_at(run) as opened:
        directory = opened.directory
        metrics = [_shown(metric) for metric in metrics_of(opened.ledger)]
    if output is not None:
        _replace(output, "".join(exposition(metrics)))
    if as_json:
        print_json(
            {
                "run_id": directory.run_id,
                "run_dir": str(directory.path),
                "output": None if output is None else str(output),
                "metrics": _as_json(metrics),
                "exit_code": 0,
            }
        )
    elif output is None:
        print_results(exposition(metrics))
    return 0


def _shown(metric: Metric) -> Metric:
    """Return the metric with labels fit to be shown: names of models and roles are other people's."""
    samples = [
        replace(
            sample,
            labels={name: one_line(without_secrets(value), _LONGEST_LABEL) for name, value in sample.labels.items()},
        )
        for sample in metric.samples
    ]
    return replace(metric, samples=samples)


def _as_json(metrics: Sequence[Metric]) -> list[dict[str, object]]:
    return [
        {"name": metric.name + sample.suffix, "labels": dict(sample.labels), "value": sample.value}
        for metric in metrics
        for sample in metric.samples
    ]


def _replace(path: Path, text: str) -> None:
    """Put the text in the file's place in one step, so that whoever collects it never sees half of it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # collectors read *.prom only
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as exc:
        told = getattr(exc, "strerror", None) or exc
        raise InputError(
            f"the figures can't be written to {path}: {told}; name a file in a folder that is there"
        ) from exc
