"""The picture a live view draws: a header, progress, a row for each stage, requests, what went wrong last."""

from collections.abc import Callable, Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent_pipeline.amounts import dollars, seconds_text
from agent_pipeline.cli.display.progress import Progress, StageProgress
from agent_pipeline.cli.display.words import (
    change_words,
    is_beyond_its_cap,
    lane_words,
    left_words,
    oldest_words,
    spent_words,
)
from agent_pipeline.cli.output import one_line

_BAR_WIDTH = 40
_NARROW = 80
"""Columns of a terminal below which a stage's tokens and cost are left out."""

_COUNTS = ("waiting", "running", "done", "cached", "failed")
_TIMES = ("p50", "p95")
_COSTS = ("tokens", "cost")


def picture(progress: Progress, at: datetime, clean: Callable[[str], str], *, width: int) -> RenderableType:
    """Return what is to be drawn now; nothing of `progress` is kept in it.

    Args:
        progress: the state, which nobody changes meanwhile.
        at: now.
        clean: takes secrets out of what others wrote.
        width: of the terminal, in columns.
    """
    left = left_words(progress, at)
    return Group(
        *_header(progress),
        _bar(progress, at, left),
        _stages(progress, width=width),
        *(_cut(line, "dim") for line in _requests(progress, at)),
        *_troubles(progress, clean),
    )


def _header(progress: Progress) -> Iterator[Text]:
    if progress.replayed:
        badge = (" REPLAY, nobody is asked ", "black on yellow")
    elif progress.simulator:
        badge = (" SIMULATOR, no model is asked ", "black on yellow")
    else:
        badge = (" LIVE ", "black on green")
    if progress.run_id:
        yield Text.assemble((one_line(progress.run_id), "bold"), "  ", badge, no_wrap=True)
    style = "bold red" if is_beyond_its_cap(progress) else ""
    if spent := " · ".join(spent_words(progress)):
        yield _cut(spent, style)


def _bar(progress: Progress, at: datetime, left: str) -> RenderableType:
    done, total = progress.done, progress.total
    head = Table.grid(padding=(0, 1))
    # Without a total the bar pulses: it would be a lie to show how far the run is.
    head.add_row(
        ProgressBar(total=total, completed=done, width=_BAR_WIDTH, pulse=total is None),
        Text(f"{done}" if total is None else f"{done}/{total}"),
        Text(", ".join([*progress.unhappy(), progress.under_way()])),
        Text(seconds_text(int(progress.seconds(at))), style="dim"),
        Text(left, style="dim"),
    )
    return head


def _stages(progress: Progress, *, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    columns = (*_COUNTS, *_TIMES, *(_COSTS if width >= _NARROW else ()))
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=24)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    waiting = {} if progress.state is None else progress.state.waiting
    for name, stage in progress.stages.items():
        cells = _cells(stage, min(waiting.get(name, 0), stage.running))
        table.add_row(one_line(name), *(cells[column] for column in columns))
    return table


def _cells(stage: StageProgress, waiting: int) -> dict[str, Text]:
    cost = dollars(None if stage.unknown_cost and not stage.micro_usd else stage.micro_usd)
    return {
        "waiting": _count(waiting, "yellow"),
        "running": _count(stage.running - waiting, "cyan"),
        "done": _count(stage.done, "green"),
        "cached": _count(stage.cached, ""),
        "failed": _count(stage.failed, "bold red"),
        "p50": Text(seconds_text(stage.durations.percentile(50))),
        "p95": Text(seconds_text(stage.durations.percentile(95))),
        "tokens": _count(stage.tokens, ""),
        "cost": Text(f"{cost}{'+' if stage.unknown_cost and stage.micro_usd else ''}"),
    }


def _count(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style if count else "dim")


def _requests(progress: Progress, at: datetime) -> Iterator[str]:
    state = progress.state
    if state is None:
        return
    lanes = [lane_words(lane) for lane in state.lanes]
    counts = [f"{progress.rate_limited} answers 429", f"{progress.retries} retries"]
    yield " · ".join([*lanes, *counts])
    if told := [words for words in (change_words(progress, at), oldest_words(state)) if words]:
        yield " · ".join(told)


def _troubles(progress: Progress, clean: Callable[[str], str]) -> Iterator[Text]:
    for failure in progress.last_failures:
        where = "" if failure.stage is None else f" at {failure.stage}"
        text = f"failed: document {failure.document_id}{where}: {failure.error_code}: {failure.error}"
        yield _cut(clean(text), "red")
    told = [*(words for outage in progress.outages.values() for words in outage), *progress.live, *progress.ending]
    for words in told:
        yield _cut(clean(words), "yellow")


def _cut(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style, no_wrap=True, overflow="ellipsis")
