"""Of runs of many kinds: what is told afterwards is the same, whichever engine worked on the documents."""

import base64
import gzip
import json
import re
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import pytest
from tests.integration.project import Project, make_project
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import finished, rows
from tests.integration.test_workers_do_the_same import CASES
from tests.integration.test_workers_looked_at import told

from agent_pipeline.cli import main
from agent_pipeline.simulator import FaultPlan

KINDS = ("rework", "fallback", "price_of_document", "odd", "retried", "refused_documents")

OF_A_CLOCK = re.compile(
    r"\d{4}-\d\d-\d\d[ T_]\d\dh?:?\d\dm?:?\d\d(\.\d+)?s?|\d[\d.,]* ?(ms|s|min)\b|at most [\d,]+ at once"
)
"""Points in time, spans of it, and how many of those overlapped."""

ENGINE = re.compile(r", &#34;engine&#34;: \{.*?\}")
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """A run of this kind on each engine."""
    case = CASES[request.param]
    made = {}
    # Names of one length: the source's path is in the prompts.
    for engine, set_engine in (("ray", partial(with_engine, shard_size=3, worker_concurrency=3)), ("lcl", local)):
        root = tmp_path_factory.mktemp(engine) / "p"
        project = make_project(
            root, case.documents, stages=case.stages, env_key=None, limits=case.limits, params=case.params
        )
        project.config.write_text(json.dumps({**json.loads(project.config.read_text()), **case.pipeline}))
        case.prepare(project)
        finished(run_over_workers(set_engine(project), Provider(FaultPlan.from_mapping(case.faults))))
        made[engine] = project
    return made


def printed(project: Project, *command: str) -> str:
    """Return what a command prints for people, but for names of the run."""
    (run,) = project.runs()
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main([command[0], str(run), *command[1:]]) == 0, err.getvalue()
    return anonymous(project, out.getvalue())


def anonymous(project: Project, text: str) -> str:
    (run,) = project.runs()
    for here, there in ((str(run), "RUN"), (run.name, "RUN"), (str(project.root), "ROOT")):
        text = text.replace(here, there)
    return text


def test_runs_lists_both_alike(both: dict[str, Project], monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they cost and how many documents failed."""
    seen = []
    for project in both.values():
        monkeypatch.chdir(project.root)
        seen.append(told(project, ["runs"]))

    assert seen[0] == seen[1]
    assert seen[0]["total"] == 1


def test_metrics_are_the_same_but_for_seconds(both: dict[str, Project]) -> None:
    """Counters, and how many there are in each histogram."""
    seen = []
    for project in both.values():
        lines = [re.sub(r" \S+$", "", line) if is_timed(line) else line for line in metrics(project)]
        seen.append(Counter(lines))

    assert sorted((seen[0] - seen[1]).elements()) == sorted((seen[1] - seen[0]).elements())


def metrics(project: Project) -> list[str]:
    return [line for line in printed(project, "metrics").splitlines() if not line.startswith("#")]


def is_timed(line: str) -> bool:
    return "seconds" in line and "_count{" not in line


def test_the_why_of_each_document_is_the_same(both: dict[str, Project]) -> None:
    """Of all that did not end well, and of one that did."""
    ends = "SELECT document_id FROM documents WHERE outcome <> 'succeeded' UNION SELECT min(document_id) FROM documents"
    documents = [one for (one,) in rows(both["lcl"], ends)]

    for document in documents:
        for command in ("why", "show"):
            over, alone = (told(project, [command, document]) for project in both.values())
            assert over == alone, (command, document)


def test_the_report_is_the_same_but_for_times(both: dict[str, Project]) -> None:
    """Its page as text, and what it unfolds of documents; the course over time is another."""
    over, alone = (report(project) for project in both.values())

    assert over == alone
    assert len(over["documents"]["id"]) == len(over["errors"])


def report(project: Project) -> dict[str, Any]:
    (run,) = project.runs()
    printed(project, "report")
    page = anonymous(project, (run / "report.html").read_text(encoding="utf-8"))
    found = DATA.search(page)
    assert found is not None
    data = json.loads(found[1])
    data.pop("timeline")
    packed = gzip.decompress(base64.b64decode(data.pop("documents"))).decode()
    documents = json.loads(anonymous(project, packed))
    columns = {name: column for name, column in documents["columns"].items() if not name.endswith("ms")}
    errors = {number: story.get("error") for number, story in documents["stories"].items()}
    text = ENGINE.sub("", OF_A_CLOCK.sub("TIME", page[: found.start()] + page[found.end() :]))
    return {"page": sorted(text.splitlines()), "data": data, "documents": columns, "errors": errors}
