"""Whoever looks at a run is told the same of it, whichever engine worked on its documents."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from platform import node
from typing import Any

import pytest
import trio
from tests.engines.in_process import InProcess
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import SLOW, finished
from tests.integration.test_workers_do_the_same import PRICES, REWORKED, kind, of

from agent_pipeline.cli import main
from agent_pipeline.compose import RunOptions
from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.story import stories
from agent_pipeline.simulator import FaultPlan

OF_THE_MOMENT = re.compile(
    r"_at$|seconds$|^at$|^(p50|p95|longest|wait|waits|pid|id|span|trace_id|run_id|run_dir|run|options|next|version|begun|offset|duration|began|ended|config_sha256|log_lines|events|attempt_id|call_id|span_id|provider_request_id)$"
)
"""What is measured on a clock, or named by chance."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """One run on each engine, in which much goes wrong."""
    made = {}
    faults = [
        of(1, kind="status", status=400),
        of(5, kind="status", status=503, script=[1]),
        of(9, kind="malformed_json", script=[1]),
    ]
    for engine, set_engine in (("ray", partial(with_engine, shard_size=7)), ("local", local)):
        project = make_project(
            tmp_path_factory.mktemp(engine) / "p",
            [*prose(12), {"id": "empty", "text": ""}, {"id": "none"}],
            stages=[*REWORKED, *kind("with_a_tool", "broken")],
            env_key=None,
            limits={"requests_in_flight": 40},
        )
        pipeline = json.loads(project.config.read_text(encoding="utf-8"))
        project.config.write_text(json.dumps({**pipeline, "prices": PRICES}), encoding="utf-8")
        provider = Provider(FaultPlan.from_mapping({"latency": 1, "faults": faults}))
        finished(run_over_workers(set_engine(project), provider))
        made[engine] = project
    return made


def told(project: Project, command: Sequence[str]) -> Any:  # noqa: ANN401
    """Return what a command prints for programs of the one run, but for what is of the moment."""
    (run,) = project.runs()
    out, err = StringIO(), StringIO()
    name, *more = command
    with redirect_stdout(out), redirect_stderr(err):
        code = main([name, *([] if name == "runs" else [str(run)]), *more, "--json"])
    assert code in {0, 1}, err.getvalue()
    text = out.getvalue().strip().splitlines()[-1]
    text = re.sub(r"[0-9][0-9.]* (ms|s|min)\b", "TIME", text)
    for here, there in ((str(run), "RUN"), (run.name, "RUN"), (str(project.root), "ROOT")):
        text = text.replace(here, there)
    return lasting(json.loads(text))


def lasting(value: Any) -> Any:  # noqa: ANN401
    """Return what two runs have in common; lists of objects in any order, since documents end in any order."""
    if isinstance(value, dict):
        return {name: lasting(one) for name, one in value.items() if not OF_THE_MOMENT.search(name)}
    if isinstance(value, list):
        return sorted((lasting(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value


COMMANDS = [
    ("show",),
    ("show", "d0001"),
    ("show", "d0005"),
    ("trace",),
    ("why", "d0001"),
    ("why", "d0003"),
    ("why", "d0004"),
    ("why", "empty"),
    ("verify",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_tells_the_same_of_both(both: dict[str, Project], command: tuple[str, ...]) -> None:
    """In the form for programs, which leaves nothing out."""
    over, alone = (told(both[engine], command) for engine in ("ray", "local"))

    if command == ("show",):
        assert (list(over["workers"].pop("hosts").values()), over["workers"].pop("lost")) == ([2], 0)
        assert alone["workers"].pop("hosts") == {}
        alone["workers"].pop("lost")
    assert over == alone


def test_workers_are_named_where_a_run_had_some(both: dict[str, Project], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, where it is told who answered."""
    said = {}
    for engine, project in both.items():
        assert main(["show", str(project.runs()[0])]) == 0
        said[engine] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("workers:")]

    assert said == {"ray": [f"workers:   2 on {node()}"], "local": []}


def test_who_watches_sees_what_waits_and_how_long_over_workers(tmp_path: Path) -> None:
    """A beat of each worker tells it; it is added up."""
    seen: list[RunSnapshot] = []
    project = make_project(tmp_path, prose(12), stages=IN_THIS_PROCESS, env_key=None, limits={"requests_in_flight": 2})
    with_engine(project, worker_concurrency=6, shard_size=6)

    run_over_workers(
        project,
        Provider(FaultPlan.from_mapping({"latency": 5})),
        options=RunOptions(on_snapshot=seen.append),
    )

    waiting = Counter(one.waiting.get("summarise", 0) for one in seen)
    assert waiting[10] > 4
    assert 25 < max(one.oldest.seconds for one in seen if one.oldest is not None) < 31
    assert max(one.lanes[0].in_flight for one in seen if one.lanes) == 2
    assert (seen[-1].waiting, seen[-1].oldest) == ({}, None)


def test_what_a_lost_worker_had_under_way_stands_apart_from_what_came_after_it(tmp_path: Path) -> None:
    """Another worker's pass would look as if it had been interrupted."""
    project = with_engine(make_project(tmp_path, prose(6), stages=IN_THIS_PROCESS, env_key=None), workers=1)

    async def disturb(process: InProcess) -> None:
        await trio.sleep(0.5)
        process.alive[0].crash()

    finished(run_over_workers(project, Provider(SLOW), disturb=disturb))
    with open_reader(project.runs()[0] / "ledger.sqlite3") as ledger:
        passes = [one for story in stories(ledger) for one in story.passes]

    left = [one for one in passes if one.left_by is not None]
    cut_off = [attempt.error_code == "interrupted" for one in left for attempt in one.attempts]
    assert [one.left_by for one in left] == ["worker"] * 6
    assert cut_off == [True] * 6
    assert {attempt.outcome for one in passes if one not in left for attempt in one.attempts} == {"succeeded"}
