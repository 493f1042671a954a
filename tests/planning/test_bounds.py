"""What a plan says at the most is never passed, and what it expects after one run comes true; on real runs."""

from pathlib import Path

import pytest
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, make_project, prose
from tests.planning.runs import attempts, money, plan, requests, run, tokens

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT

STATUS: dict[str, object] = {"faults": [{"kind": "status", "status": 500, "rate": 0.3}]}
SILENCE: dict[str, object] = {"faults": [{"kind": "reset_mid_body", "rate": 0.4}]}

REWORKED: list[JsonValue] = [
    {"id": "plain", "text": "# Plain\n\nNothing special.\n"},
    {"id": "once", "text": f"# Once\n\nGood line.\n{DEFECT} to mend\n"},
    {"id": "never", "text": f"# Never\n\nGood line.\n{LASTING_DEFECT} stays\n"},
]
ESCAPED: list[JsonValue] = [
    {"id": "tabs", "text": "\t\t\n" * 2000},
    {"id": "quotes", "text": '"\\"' * 3000},
    {"id": "controls", "text": "\x01\x02 word " * 500},
    {"id": "wide", "text": "漢字かな 🦊 " * 400},
]
GROWING: list[JsonValue] = [{"id": f"d{n}", "text": "One sentence of some words. " * (3**n)} for n in range(7)]


@pytest.mark.parametrize("faults", [{}, STATUS, SILENCE], ids=["calm", "errors", "breaks"])
@pytest.mark.parametrize(
    "documents", [REWORKED, ESCAPED, GROWING, prose(9)], ids=["reworked", "escaped", "sizes", "many"]
)
@pytest.mark.parametrize("stages", [BUILT_IN, IN_THIS_PROCESS], ids=["built-in", "own"])
def test_a_run_stays_between_low_and_high(
    tmp_path: Path, documents: list[JsonValue], stages: tuple[JsonValue, ...], faults: dict[str, object]
) -> None:
    """Whatever goes wrong in it: reworks, attempts, answers that nobody confirmed."""
    project = make_project(tmp_path, documents, stages=stages)
    before = plan(project)

    result = run(project, faults=faults)

    assert (requests(before).high or 0) >= result.usage.requests
    assert (attempts(before).high or 0) >= result.usage.attempts
    assert (tokens(before).high or 0) >= result.usage.charged_tokens
    assert (money(before).high or 0) >= (result.cost_usd or 0) * 1e6
    if result.documents.failed == 0:
        assert (requests(before).low or 0) <= result.usage.requests
        assert (tokens(before).low or 0) <= result.usage.charged_tokens
        assert (money(before).low or 0) <= (result.cost_usd or 0) * 1e6


def test_high_holds_where_every_request_takes_all_its_attempts(tmp_path: Path) -> None:
    """Four of five answers break off, each is charged in full; and the document is large."""
    documents: list[JsonValue] = [{"id": "large", "text": "Some words. " * 9000}]
    limits: dict[str, JsonValue] = {"documents_in_flight": 1}
    project = make_project(tmp_path, documents, stages=IN_THIS_PROCESS, params={"max_tokens": 30_000}, limits=limits)
    high = tokens(plan(project)).high or 0

    result = run(project, faults={"faults": [{"kind": "reset_mid_body", "script": [1, 2, 3, 4]}]})

    assert (result.documents.succeeded, result.usage.attempts) == (1, 5)
    assert 4 * (108_000 + 30_000) < result.usage.unknown_tokens <= high < 2 * result.usage.charged_tokens


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stages", [BUILT_IN, IN_THIS_PROCESS], ids=["built-in", "own"])
def test_after_one_run_the_expected_comes_true(tmp_path: Path, stages: tuple[JsonValue, ...], api: str) -> None:
    """Within a fifth, for more documents than the first run had, and larger ones."""
    project = make_project(tmp_path, GROWING, stages=stages, api=api, params={"max_tokens": 8000})
    run(project, limit=5)

    before = plan(project)
    result = run(project)

    assert before.history is not None
    assert requests(before).expected == result.usage.requests
    assert tokens(before).expected == pytest.approx(result.usage.charged_tokens, rel=0.2)
    assert money(before).expected == pytest.approx((result.cost_usd or 0) * 1e6, rel=0.2)


def test_the_same_documents_are_expected_to_need_the_same(tmp_path: Path) -> None:
    """To the token: least squares go through the sums."""
    project = make_project(tmp_path, [*REWORKED[:2], *GROWING])
    first = run(project)

    before = plan(project)

    assert tokens(before).expected == pytest.approx(first.usage.charged_tokens, abs=len(before.stages))
    assert requests(before).expected == first.usage.requests


def test_other_documents_are_expected_to_need_the_mean(tmp_path: Path) -> None:
    """Where none of them was in the earlier run, nobody knows how large those were."""
    project = make_project(tmp_path, prose(4))
    first = run(project)
    make_project(tmp_path, prose(8, start=100))

    before = plan(project)

    assert requests(before).expected == 2 * first.usage.requests
    assert tokens(before).expected == pytest.approx(2 * first.usage.charged_tokens, abs=8)


def test_attempts_that_failed_are_expected_again(tmp_path: Path) -> None:
    """A provider that fails now and then will, and what it may have billed is a part of what it costs."""
    project = make_project(tmp_path, prose(12), stages=IN_THIS_PROCESS)
    first = run(project, faults={"faults": [{"kind": "reset_mid_body", "script": [2, 5, 7, 11]}]})
    assert first.documents.succeeded == 12

    before = plan(project)

    assert first.usage.unknown_tokens > 0
    assert attempts(before).expected == first.usage.attempts
    assert tokens(before).expected == pytest.approx(first.usage.charged_tokens, abs=3)


def test_each_fallback_is_counted_with_attempts_of_its_own(tmp_path: Path) -> None:
    """Where a role can't answer, the request is put to its fallback."""
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS)
    alone = plan(project)
    roles = project.roles.read_text(encoding="utf-8").replace(
        '"roles": {}',
        '"roles": {"writer": {"provider": "openai", "model": "gpt-5-mini", "params": {"max_tokens": 2000}, '
        '"fallback": "other"}, "other": {"provider": "openai", "model": "gpt-5", "params": {"max_tokens": 4000}}}',
    )
    project.roles.write_text(roles, encoding="utf-8")

    with_fallback = plan(project)

    assert requests(alone).high == 2
    assert requests(with_fallback).high == 4
    assert (tokens(with_fallback).high or 0) > 2 * (tokens(alone).high or 0)
