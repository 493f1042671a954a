"""Rehearsals: the real gate, budget and ledger against a simulated provider in virtual time, and nothing left of it."""

import json
from pathlib import Path

import pytest
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, Project, make_project, prose
from tests.planning.runs import run

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.config.pipeline import Overrides, load_pipeline_config
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError, InputError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.rehearsal.advice import advice
from agent_pipeline.rehearsal.fault_plans import load_plan, plan_file, plan_names
from agent_pipeline.rehearsal.rehearse import Rehearsal, rehearse, take_down
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT, FaultPlan, Simulator

PLANS = ("429-storm", "5xx-burst", "dead-provider", "mixed", "none", "slow-provider", "truncation")


def rehearsed(
    project: Project,
    faults: str | dict[str, object] = "none",
    documents: int | None = None,
    *,
    overrides: Overrides | None = None,
    seed: int = 1,
) -> Rehearsal:
    """Rehearse a project."""
    plan = load_plan(faults) if isinstance(faults, str) else FaultPlan.from_mapping(faults)
    config = load_pipeline_config(project.config, overrides)
    return rehearse(config, RunOptions(seed=seed), plan, documents=documents)


def advised(project: Project, rehearsal: Rehearsal) -> str:
    """Return what is advised."""
    return "\n".join(advice(rehearsal, load_pipeline_config(project.config)))


def test_named_plans_come_with_the_package() -> None:
    assert tuple(plan_names()) == PLANS
    for name in PLANS:
        assert plan_file(name).read_text(encoding="utf-8").startswith("# ")
        load_plan(name)


def test_a_plan_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean '429-storm'"):
        load_plan("429-strom")
    with pytest.raises(ConfigError, match="is a folder"):
        load_plan(str(tmp_path))


def test_where_nothing_goes_wrong_it_costs_what_a_run_costs(tmp_path: Path) -> None:
    """The same documents, the same stages, the same provider: to the token."""
    project = make_project(tmp_path, [*prose(4), {"id": "x", "text": f"# X\n\nGood.\n{DEFECT} to mend\n"}])
    result = run(project)

    rehearsal = rehearsed(project)

    assert (rehearsal.finished, rehearsal.lost, rehearsal.unfinished) == (5, 0, 0)
    assert rehearsal.observed.spent.tokens == result.usage.charged_tokens
    assert rehearsal.result.usage.requests == result.usage.requests
    assert rehearsal.observed.spent.micro_usd == pytest.approx((result.cost_usd or 0) * 1e6)


def test_a_provider_without_latency_or_faults_leaves_nothing_to_advise(tmp_path: Path) -> None:
    """A faults file may hold a seed only: no virtual time goes by, and nothing waits."""
    project = make_project(tmp_path, prose(2))

    rehearsal = rehearsed(project, {"seed": 1})

    assert rehearsal.result.duration_seconds == 0
    assert advised(project, rehearsal) == "nothing: no document was lost, and requests hardly waited"


@pytest.mark.parametrize("stages", [BUILT_IN, IN_THIS_PROCESS], ids=["built-in", "own"])
def test_stand_ins_cost_what_documents_cost_that_are_worked_on(tmp_path: Path, stages: tuple[JsonValue, ...]) -> None:
    """Reworks, rejections and all: three times the documents, three times everything, but for blanks."""
    documents: list[JsonValue] = [
        *prose(2),
        {"id": "once", "text": f"# Once\n\nGood line.\n{DEFECT} to mend\n"},
        {"id": "never", "text": f"# Never\n\nGood line.\n{LASTING_DEFECT} stays\n"},
    ]
    project = make_project(tmp_path, documents, stages=stages)
    once, thrice = rehearsed(project), rehearsed(project, documents=12)

    assert (thrice.cast.size, len(thrice.cast.stand_ins), thrice.cast.repeats) == (12, 8, 8)
    assert (thrice.finished, thrice.lost) == (3 * once.finished, 3 * once.lost)
    assert thrice.result.usage.requests == 3 * once.result.usage.requests
    assert thrice.observed.spent.tokens == 3 * once.observed.spent.tokens


def test_stand_ins_of_a_document_that_fails_fail(tmp_path: Path) -> None:
    own = (
        "from agent_pipeline import Document, StageContext, stage\n"
        '@stage(role="writer")\n'
        "async def picky(document: Document, context: StageContext) -> Document:\n"
        "    await context.ask(document.text)\n"
        '    if "bad" in document.text: raise ValueError("I do not like it")\n'
        "    return document\n"
    )
    documents: list[JsonValue] = [{"id": "good", "text": "good"}, {"id": "bad", "text": "bad"}]
    project = make_project(tmp_path, documents, stages=("picky_stages:picky",))
    (tmp_path / "picky_stages.py").write_text(own, encoding="utf-8")

    rehearsal = rehearsed(project, documents=6)

    assert (rehearsal.finished, rehearsal.lost) == (3, 3)
    assert rehearsal.observed.failures == {"stage_failed": 3}
    assert rehearsal.result.usage.requests == 6
    assert "I do not like it" in advised(project, rehearsal)


def test_requests_that_go_together_do_so_in_stand_ins(tmp_path: Path) -> None:
    """Else a stage that asks three models at once would seem three times as slow."""
    own = (
        "import trio\n"
        "from agent_pipeline import Document, StageContext, stage\n"
        '@stage(role="writer")\n'
        "async def wide(document: Document, context: StageContext) -> Document:\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        for n in range(3):\n"
        '            nursery.start_soon(context.ask, f"{n} {document.text}")\n'
        '    await context.ask("and last")\n'
        "    return document\n"
    )
    project = make_project(tmp_path, prose(1), stages=("wide_stages:wide",))
    (tmp_path / "wide_stages.py").write_text(own, encoding="utf-8")

    rehearsal = rehearsed(project, {"latency": 10}, documents=4)

    assert rehearsal.result.usage.requests == 16
    assert rehearsal.result.duration_seconds == pytest.approx(20, abs=0.1)


def test_documents_beyond_those_worked_on_stand_in_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the source's own, under their own ids; no repeats."""
    monkeypatch.setattr("agent_pipeline.rehearsal.cast.MOST_ORIGINALS", 2)
    documents: list[JsonValue] = [
        {"id": "small", "text": "word " * 10},
        {"id": "large", "text": "word " * 200},
        {"id": "tiny", "text": "word"},
        {"id": "huge", "text": "word " * 500},
        {"id": "middling", "text": "word " * 120},
    ]
    project = make_project(tmp_path, documents, stages=IN_THIS_PROCESS)

    cast = rehearsed(project).cast

    assert cast.stand_ins == {"tiny": "small", "huge": "large", "middling": "large"}
    assert (cast.repeats, cast.left) == (0, False)


def test_the_same_seed_is_the_same_rehearsal(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(4))

    first, again, other = (rehearsed(project, "mixed", 40, seed=seed) for seed in (7, 7, 8))

    def told(one: Rehearsal) -> tuple[object, ...]:
        return one.result.duration_seconds, one.observed.endings, one.observed.spent, one.observed.slowest

    assert told(first) == told(again)
    assert told(first) != told(other)


def test_nothing_of_the_users_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither artifacts nor logs, and the folder of the rehearsal is gone."""
    parent = tmp_path / "temporary"
    parent.mkdir()
    monkeypatch.setattr("agent_pipeline.rehearsal.virtual_run._IN_MEMORY", parent)
    project = make_project(tmp_path / "project", prose(3))
    before = sorted(str(path) for path in project.root.rglob("*") if "__pycache__" not in str(path))

    rehearsal = rehearsed(project, "mixed", 9)

    after = sorted(str(path) for path in project.root.rglob("*") if "__pycache__" not in str(path))
    assert rehearsal.finished == 9
    assert str(parent) in rehearsal.result.run_dir
    assert (after, list(parent.iterdir())) == (before, [])


def test_a_key_is_neither_needed_nor_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert rehearsed(make_project(tmp_path, prose(2))).finished == 2


def test_a_dead_provider_costs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """The breaker ends the run; `resume` takes up all of it."""
    project = make_project(tmp_path, prose(4))

    rehearsal = rehearsed(project, "dead-provider", 50)

    assert (rehearsal.finished, rehearsal.lost, rehearsal.unfinished) == (0, 0, 50)
    assert (rehearsal.result.reason, rehearsal.observed.spent.tokens) == ("provider_down", 0)
    assert "a fallback of another provider" in advised(project, rehearsal)


def test_a_budget_ends_it_and_the_advice_says_how_much_would_do(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS, limits={"documents_in_flight": 2})
    needed = rehearsed(project, documents=40).observed.spent.tokens

    rehearsal = rehearsed(project, documents=40, overrides=Overrides(budget_tokens=needed // 2 + 3000))

    assert rehearsal.result.reason == "budget:tokens"
    assert rehearsal.observed.spent.tokens <= needed // 2 + 3000
    assert rehearsal.unfinished == 40 - rehearsal.finished > 0
    (line,) = [line for line in advised(project, rehearsal).splitlines() if "token budget was reached" in line]
    said = int(line.split("need about ")[1].split(" tokens")[0].replace(",", ""))
    assert needed <= said <= 1.25 * needed


def test_takes_are_not_stopped_by_the_users_own_limits(tmp_path: Path) -> None:
    """What documents ask for has to be known, also where there is money for none of them."""
    limits: dict[str, JsonValue] = {
        "budget": {"tokens": 3},
        "budget_per_document": {"tokens": 2},
        "requests_per_minute": 1,
        "tokens_per_minute": 1,
    }
    project = make_project(tmp_path, prose(5), stages=IN_THIS_PROCESS, limits=limits)
    cast = rehearsed(project, documents=10).cast

    takes = take_down(load_pipeline_config(project.config), RunOptions(), cast, 1)

    assert sorted(takes.passes) == [(f"d000{number}", "summarise", 1) for number in range(1, 6)]
    assert [len(take.requests) for take in takes.passes.values()] == [1] * 5


def test_lost_documents_and_unconfirmed_requests_are_money_at_risk(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS, limits={"retry": {"max_attempts": 1}})
    faults: dict[str, object] = {
        "faults": [{"kind": "reset_mid_body", "match": {"contains": "number 1."}}, {"kind": "status", "status": 500}]
    }

    rehearsal = rehearsed(project, faults)

    seen = rehearsal.observed
    assert seen.failures == {"connection_lost": 1, "server_error": 2}
    assert seen.unconfirmed.tokens == seen.spent.tokens == rehearsal.at_risk.tokens > 2000
    assert seen.wasted.tokens == 0


def test_what_was_paid_for_a_lost_document_is_at_risk(tmp_path: Path) -> None:
    """Its first stages were paid and confirmed, and it has no artifact."""
    project = make_project(tmp_path, prose(1))
    faults: dict[str, object] = {
        "faults": [{"kind": "status", "status": 400, "match": {"contains": "Name this document"}}]
    }

    rehearsal = rehearsed(project, faults)

    seen = rehearsal.observed
    assert (rehearsal.lost, seen.unconfirmed.tokens) == (1, 0)
    assert seen.wasted.tokens == seen.spent.tokens == rehearsal.at_risk.tokens > 0


def test_retries_are_counted_and_a_429_among_them(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS)
    faults: dict[str, object] = {
        "faults": [
            {"kind": "status", "status": 429, "retry_after": 3, "script": [1]},
            {"kind": "status", "status": 500, "script": [2]},
        ]
    }

    rehearsal = rehearsed(project, faults)

    assert rehearsal.observed.retried == 2
    assert rehearsal.result.usage.attempts - rehearsal.result.usage.requests == 2


def test_a_storm_of_429s_names_what_the_gate_came_down_to(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS)

    rehearsal = rehearsed(project, "429-storm", 150)

    (lowest,) = rehearsal.observed.lowest_limits.values()
    assert rehearsal.lost == 0
    assert f"the gate came down to {lowest:,} at once" in advised(project, rehearsal)


def test_answers_cut_short_name_the_role_and_its_cap(tmp_path: Path) -> None:
    project = make_project(tmp_path, [{"id": "long", "text": "many words here. " * 400}], params={"max_tokens": 300})

    rehearsal = rehearsed(project)

    assert rehearsal.lost == 1
    told = "role markdown_cleaner: its output cap cut 1 answer short: raise params.max_tokens"
    assert told in advised(project, rehearsal)


def test_documents_that_run_out_of_time_name_the_wait(tmp_path: Path) -> None:
    limits: dict[str, JsonValue] = {"requests_in_flight": 1, "timeouts": {"stage": 60, "attempt": 50, "read": 30}}
    project = make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS, limits=limits)

    rehearsal = rehearsed(project, {"latency": 10}, documents=40)

    assert rehearsal.lost > 10
    assert "waiting for a place among the requests in flight" in advised(project, rehearsal)


def test_where_nothing_is_lost_nothing_has_to_change(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(2))

    assert advised(project, rehearsed(project)).startswith("nothing")


def test_standard_input_cannot_be_rehearsed(tmp_path: Path) -> None:
    project = make_project(tmp_path, [])
    config = json.loads(project.config.read_text(encoding="utf-8"))
    project.config.write_text(json.dumps(config | {"source": {"path": "-"}}), encoding="utf-8")

    with pytest.raises(InputError, match="can't be rehearsed"):
        rehearsed(project)


def test_live_values_are_left_out(tmp_path: Path) -> None:
    """They are for a run somebody watches; a file looked at in virtual time would be looked at a million times."""
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS)
    config = json.loads(project.config.read_text(encoding="utf-8"))
    project.config.write_text(json.dumps(config | {"live": "live.json"}), encoding="utf-8")
    (tmp_path / "live.json").write_text('{"budget_tokens": 1}', encoding="utf-8")

    assert rehearsed(project).finished == 2


def test_without_memory_for_files_a_folder_on_disk_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_pipeline.rehearsal.virtual_run._IN_MEMORY", tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    rehearsal = rehearsed(make_project(tmp_path / "project", prose(1)))

    assert Path(rehearsal.result.run_dir).parents[2] == tmp_path
    assert not any(path.name.startswith("agent-pipeline-rehearsal") for path in tmp_path.iterdir())


def test_stand_ins_of_one_document_are_no_poisoned_request(tmp_path: Path) -> None:
    """They send what it sent; a gate that took them for one request would give it up for failing again and again."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, limits={"retry": {"max_attempts": 20}})
    faults: dict[str, object] = {"latency": 1, "faults": [{"kind": "status", "status": 500, "rate": 0.4}]}

    rehearsal = rehearsed(project, faults, documents=200)

    assert (rehearsal.lost, rehearsal.finished) == (0, 200)


def test_no_logs_are_kept(tmp_path: Path) -> None:
    """Forty thousand requests are half a million lines, which nobody will read."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    simulator = Simulator()
    options = RunOptions(offline=True, virtual=True, keeps_logs=False, make_pool=lambda: simulator_pool(simulator))

    result = Pipeline.from_config(project.config, options=options).run_sync()

    left = {path.name for path in Path(result.run_dir).iterdir()}
    assert left == {"config.yaml", "roles.yaml", "ledger.sqlite3", "manifest.json"}
