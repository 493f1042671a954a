"""What a plan says beside its sums: limits, endings, clashes, documents that are too long, what is unknown."""

import json
import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, Project, make_project, prose
from tests.planning.runs import attempts, in_virtual_time, money, plan, requests, run, tokens

from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.earlier_run import find_earlier_run
from agent_pipeline.config.pipeline import Overrides, load_pipeline_config
from agent_pipeline.config.prices import context_window
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError
from agent_pipeline.planning.plan import Plan, make_plan


def with_source(project: Project, name: str, text: str) -> Project:
    """Let a project read another file."""
    config = json.loads(project.config.read_text(encoding="utf-8"))
    project.config.write_text(json.dumps(config | {"source": {"path": name}}), encoding="utf-8")
    (project.root / name).write_text(text, encoding="utf-8")
    return project


def lines(count: int, text: str = "Words of a document.") -> str:
    """Return JSON Lines."""
    return "".join(json.dumps({"id": f"n{n}", "text": text}) + "\n" for n in range(count))


def test_json_lines_are_counted_too(tmp_path: Path) -> None:
    """`check` leaves that to the run; a plan has to know."""
    project = with_source(make_project(tmp_path, []), "documents.jsonl", lines(250) + "not JSON\n")

    survey = plan(project).survey

    assert survey is not None
    assert (survey.sizes.count, survey.invalid, survey.is_complete) == (250, 1, True)


def test_counting_takes_the_same_memory_for_ten_times_the_documents(tmp_path: Path) -> None:
    """But for 8 bytes of each id, so that two of one name are found."""
    peaks: list[int] = []
    for name, count in (("small", 500), ("large", 5000)):
        project = with_source(make_project(tmp_path / name, []), "documents.jsonl", lines(count, "word " * 400))
        tracemalloc.start()
        plan(project)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] + 5000 * 200


def test_reading_ends_when_it_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was not read is said to be missing."""
    project = with_source(make_project(tmp_path, []), "documents.jsonl", lines(500))
    monkeypatch.setattr("agent_pipeline.planning.survey.MOST_SECONDS", -1.0)

    survey = plan(project).survey

    assert survey is not None
    assert (survey.sizes.count, survey.is_complete) == (1, False)


def test_a_limit_is_counted_with(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(20))

    assert requests(plan(project, RunOptions(limit=3))).low == 12


def test_stages_that_do_not_run_cost_nothing(tmp_path: Path) -> None:
    """And a rework into one that is left out is no rework."""
    project = make_project(tmp_path, prose(2))

    assert requests(plan(project)).high == 2 * (1 + 3 + 3 + 1)
    assert requests(plan(project, RunOptions(skip=("transform",)))).high == 2 * 3
    assert requests(plan(project, RunOptions(only=("name",)))).high == 2
    with pytest.raises(ConfigError, match="no stage 'nmae'"):
        plan(project, RunOptions(only=("nmae",)))


def test_an_unknown_price_is_unknown(tmp_path: Path) -> None:
    """Not nothing, and not that of the other stages."""
    project = make_project(tmp_path, prose(2))
    overridden = project.roles.read_text(encoding="utf-8").replace("gpt-5-mini", "house-model")
    project.roles.write_text(overridden, encoding="utf-8")

    planned = plan(project)

    assert (money(planned).low, money(planned).expected, money(planned).high) == (None, None, None)
    assert tokens(planned).expected is not None
    assert "no price is known for 'house-model' of 'openai': write it under `prices`" in planned.assumptions


def test_without_a_cap_tokens_have_no_upper_bound(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(2), params={"max_tokens": None}, stages=IN_THIS_PROCESS)

    planned = plan(project)

    assert (tokens(planned).high, attempts(planned).high) == (None, 10)
    assert any("has no output cap" in line for line in planned.assumptions)


def test_how_often_an_own_stage_asks_is_an_assumption(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS)
    before = plan(project).assumptions
    run(project)

    after = plan(project).assumptions

    assert before == (
        "stage summarise: at most 1 request in a pass, with the document once in each (nobody knows how often it asks)",
    )
    assert after[0].endswith("(so often it asked in the earlier run)")


@pytest.mark.parametrize(
    ("limits", "first"),
    [
        ({"documents_in_flight": 2}, "documents_in_flight"),
        ({"requests_in_flight": 1}, "requests_in_flight"),
        ({"requests_per_minute": 3}, "requests_per_minute"),
        ({"tokens_per_minute": 3000}, "tokens_per_minute"),
    ],
)
def test_the_limit_that_binds_first_is_named(tmp_path: Path, limits: dict[str, JsonValue], first: str) -> None:
    binding = plan(make_project(tmp_path, prose(40), limits=limits)).binding

    assert binding is not None
    assert binding.paces[0].limit == first


def test_limits_without_effect_set_no_pace(tmp_path: Path) -> None:
    """Forty documents all go at once under a hundred in flight."""
    binding = plan(make_project(tmp_path, prose(40))).binding

    assert binding is not None
    assert [pace.limit for pace in binding.paces] == ["requests_in_flight"]


def test_where_a_budget_ends_a_run_is_told_before(tmp_path: Path) -> None:
    """After one run as good as to the document."""
    project = make_project(tmp_path, prose(60), stages=IN_THIS_PROCESS, limits={"documents_in_flight": 1})
    run(project, limit=3)
    limited = load_pipeline_config(project.config, Overrides(budget_tokens=6000))

    planned = make_plan(limited, RunOptions())
    project.config.write_text(
        project.config.read_text(encoding="utf-8").replace('"limits": {', '"limits": {"budget": {"tokens": 6000}, '),
        encoding="utf-8",
    )
    result = run(project)

    assert planned.binding is not None
    (ending,) = planned.binding.endings
    assert ending.limit == "budget.tokens"
    assert result.reason == "budget:tokens"
    assert ending.document == pytest.approx(result.documents.succeeded, rel=0.1)


def test_a_timeout_that_ends_a_run_is_told_before(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(100), limits={"documents_in_flight": 1})
    config = load_pipeline_config(project.config, Overrides(run_timeout=200.0))

    binding = make_plan(config, RunOptions()).binding

    assert binding is not None
    assert binding.expected_seconds == pytest.approx(100 * 20, rel=0.05)
    assert [(one.limit, one.document) for one in binding.endings] == [("timeouts.run", 9)]


def test_documents_that_a_model_cannot_take_are_named(tmp_path: Path) -> None:
    """Too long for its context, as far as that is known; or for an answer that has to be as long."""
    documents: list[JsonValue] = [
        {"id": "short", "text": "Few words."},
        {"id": "long", "text": "word " * 2000},
        {"id": "huge", "text": "word " * 400_000},
    ]

    survey = plan(make_project(tmp_path, documents)).survey

    assert survey is not None
    found = {threshold.what.split(" role ")[0]: found.first for threshold, found in survey.over if found.count}
    assert found == {
        "too long for the 400,000 tokens of": ["huge"],
        "longer than an answer of": ["long", "huge"],
    }


def test_two_documents_of_one_id_are_found(tmp_path: Path) -> None:
    text = lines(3) + json.dumps({"id": "n1", "text": "again"}) + "\n"
    project = with_source(make_project(tmp_path, []), "documents.jsonl", text)

    survey = plan(project).survey

    assert survey is not None
    assert (survey.same_id.count, survey.same_id.first) == (1, ["n1"])


def test_artifact_names_that_clash_are_found_where_no_stage_names_them(tmp_path: Path) -> None:
    """Some file systems take names for one that differ in case only."""
    documents: list[JsonValue] = [{"id": "Guide", "text": "one"}, {"id": "guide", "text": "two"}]

    own = plan(make_project(tmp_path / "own", documents, stages=IN_THIS_PROCESS)).survey
    named = plan(make_project(tmp_path / "named", documents, stages=BUILT_IN)).survey

    assert own is not None
    assert named is not None
    assert (own.same_name.first, named.same_name.first) == (["guide"], [])


def resumed(project: Project, *, retry_failed: bool = False) -> Plan:
    """Plan what is left of a project's newest run."""
    earlier = find_earlier_run(project.runs()[-1], project.logs)
    return make_plan(load_pipeline_config(project.config), replace(earlier.options, retry_failed=retry_failed))


def test_a_resume_pays_for_what_is_left_only(tmp_path: Path) -> None:
    """Ten more documents: those that are finished cost nothing again."""
    project = make_project(tmp_path, prose(5))
    first = run(project)
    make_project(tmp_path, prose(15))

    planned = resumed(project)

    assert planned.survey is not None
    assert (planned.survey.kept, planned.survey.sizes.count) == (5, 10)
    assert planned.spent.tokens == first.usage.charged_tokens
    assert requests(planned).expected == 40


def test_results_of_stages_that_are_kept_are_not_counted(tmp_path: Path) -> None:
    """A document that failed at its last stage needs only that again, if it is worked on again."""
    project = make_project(tmp_path, prose(4))
    run(project, faults={"faults": [{"kind": "status", "status": 400, "match": {"contains": "Name this document"}}]})

    left, again = resumed(project), resumed(project, retry_failed=True)

    assert left.survey is not None
    assert again.survey is not None
    assert (left.survey.kept, left.survey.sizes.count) == (4, 0)
    assert (again.survey.kept, again.survey.sizes.count, again.survey.reused) == (0, 4, 12)
    assert requests(again).low == 4


def test_a_changed_document_is_paid_for_again(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(3))
    run(project)
    changed = project.documents.read_text(encoding="utf-8").replace("note number 2", "note number two")
    project.documents.write_text(changed, encoding="utf-8")

    survey = resumed(project).survey

    assert survey is not None
    assert (survey.kept, survey.sizes.count, survey.reused) == (2, 1, 0)


def test_a_broken_ledger_is_passed_over(tmp_path: Path) -> None:
    """The newest run that can be read tells as well."""
    project = make_project(tmp_path, prose(2))
    whole = run(project)
    broken = project.logs / "trial-2099-01-01_00h00m00s-ffffff"
    broken.mkdir()
    (broken / "ledger.sqlite3").write_bytes(b"no ledger at all" * 100)

    history = plan(project).history

    assert history is not None
    assert history.run_id == whole.run_id


def test_a_plan_leaves_everything_as_it_was(tmp_path: Path) -> None:
    project = make_project(tmp_path, prose(2))

    plan(project)

    assert not project.artifacts.exists()
    assert not project.logs.exists()


def test_the_latency_of_a_real_provider_is_reckoned_with(tmp_path: Path) -> None:
    """That of the simulator says nothing of one."""
    project = make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS)
    in_virtual_time(project, latency=2.0)
    simulated = plan(project).binding
    with closing(sqlite3.connect(project.runs()[0] / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("""UPDATE run SET options_json = replace(options_json, '"offline": true', '"offline": false')""")

    real = plan(project).binding

    assert simulated is not None
    assert real is not None
    assert simulated.latency == 5.0
    assert real.latency == pytest.approx(2.0)


def test_models_without_a_known_window_are_too_small_for_nothing(tmp_path: Path) -> None:
    """Unknown is unknown."""
    assert context_window("openai", "gpt-5-mini") == 400_000
    assert context_window("openai", "house-model") is None
    project = make_project(tmp_path, [{"id": "huge", "text": "word " * 400_000}], stages=IN_THIS_PROCESS)
    project.roles.write_text(
        project.roles.read_text(encoding="utf-8").replace("gpt-5-mini", "house-model"), encoding="utf-8"
    )

    survey = plan(project).survey

    assert survey is not None
    assert survey.over == []
