"""The budgets a run's files set, with what earlier sessions spent; and the word about usage beyond its worst case."""

from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from tests.gateway.bodies import CHAT_USAGE, completion
from tests.integration.leavings import Leavings
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from tests.telemetry.attempts import ATTEMPT
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.budgets import Overruns, caps_of_document, run_budget
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.control.budget import BudgetStatistics, Caps, RunBudget
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.limit_events import UsageAboveBound
from agent_pipeline.domain.usage import Spending, Usage
from agent_pipeline.gateway import ConnectionPool
from agent_pipeline.ledger import Session

ROLES = """\
project: p
env: e
providers: {openai: {}}
roles:
  writer: {provider: openai, model: gpt-5-nano, params: {max_tokens: 9}, budget_tokens: 500, budget_usd: 0.25}
  judge: {provider: openai, model: gpt-5-nano, params: {max_tokens: 9}}
"""
PIPELINE = """\
name: demo
roles: roles.yaml
source: {path: in.json}
artifacts: out
logs: logs
stages: [route]
limits: {budget: {tokens: 900, usd: 2}, budget_per_document: {tokens: 70, usd: 0.5}}
"""
SESSION = Session(
    number=2,
    interrupted_documents=0,
    interrupted_attempts=0,
    attempts=5,
    requests=5,
    usage=Usage(),
    charged_tokens=300,
    unknown_tokens=40,
    charged_micro_usd=1200,
    unknown_cost=False,
    last_position=9,
    roles={"writer": Spending(200, 40, 900)},
)


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    """A pipeline with every kind of budget."""
    (tmp_path / "roles.yaml").write_text(ROLES)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return load_pipeline_config(tmp_path / "pipeline.yaml")


def test_each_budget_goes_on_from_what_was_spent_of_it(config: PipelineConfig) -> None:
    """The run's from all, a role's from its own requests; one without a cap has none."""
    budget = run_budget(config, SESSION)

    assert budget.tokens.statistics() == BudgetStatistics(total=900, spent=300, reserved=0, unknown=40)
    assert budget.micro_usd.statistics() == BudgetStatistics(total=2_000_000, spent=1200, reserved=0, unknown=0)
    assert set(budget.roles) == {"writer"}
    writer = budget.roles["writer"]
    assert writer.tokens.statistics() == BudgetStatistics(total=500, spent=200, reserved=0, unknown=40)
    assert writer.micro_usd.statistics() == BudgetStatistics(total=250_000, spent=900, reserved=0, unknown=0)
    assert caps_of_document(config) == Caps(70, 500_000)


def test_a_role_that_spent_nothing_yet_has_all_of_its_budget(config: PipelineConfig) -> None:
    """Also in a later session: its stage may not have been reached."""
    budget = run_budget(config, replace(SESSION, roles={}))

    assert budget.roles["writer"].tokens.remaining() == 500


LONGER = replace(ATTEMPT, reserved_tokens=100, charged_tokens=101)


@pytest.mark.parametrize(
    ("budget", "of_document"),
    [
        (RunBudget(tokens=5), Caps()),
        (RunBudget(micro_usd=5), Caps()),
        (RunBudget(), Caps(tokens=5)),
    ],
)
def test_usage_above_the_worst_case_is_told_once_per_role_and_model(budget: RunBudget, of_document: Caps) -> None:
    """A cap may have been passed by it; a thousand such lines would say no more than one."""
    events: list[Event] = []
    overruns = Overruns(events.append, budget, of_document)

    for attempt in (
        replace(LONGER, charged_tokens=100),
        LONGER,
        LONGER,
        replace(LONGER, model="other"),
        replace(LONGER, role="other"),
    ):
        overruns.look_at(attempt)

    told = [event for event in events if isinstance(event, UsageAboveBound)]
    assert [(one.role, one.model) for one in told] == [
        (LONGER.role, LONGER.model),
        (LONGER.role, "other"),
        ("other", LONGER.model),
    ]
    assert (told[0].reserved_tokens, told[0].charged_tokens) == (100, 101)


def test_where_no_cap_is_an_answer_may_have_any_length(config: PipelineConfig) -> None:
    """A role without an output cap reserves no output; that is no news. A cap of its own makes it some."""
    events: list[Event] = []
    overruns = Overruns(events.append, RunBudget(roles=run_budget(config, SESSION).roles), Caps())

    overruns.look_at(replace(LONGER, role="judge"))
    assert events == []
    overruns.look_at(replace(LONGER, role="writer"))
    assert len(events) == 1


class Glutton(httpx2.AsyncBaseTransport):
    """A provider that reports far more tokens than a request has bytes."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as asked for, with a usage of its own."""
        trace = request.extensions["trace"]
        await trace("http11.send_request_headers.started", {})
        usage = {**CHAT_USAGE, "prompt_tokens": 90_000, "total_tokens": 90_003}
        return httpx2.Response(200, json=completion('{"summary": "much"}', usage=usage))


async def test_what_a_provider_reports_beyond_the_worst_case_is_charged_and_told_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The budget is passed by that difference alone: the next request is refused, and the log says why."""
    project = make_project(
        tmp_path,
        prose(5),
        stages=IN_THIS_PROCESS,
        api="chat",
        env_key=None,
        limits={"documents_in_flight": 1, "budget": {"tokens": 150_000}},
    )
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: ConnectionPool(Glutton), seed=1)

    result = await Pipeline.from_config(project.config, options=options).run()

    (path,) = project.runs()
    told = Leavings(path).named("USAGE_ABOVE_BOUND")
    assert (result.exit_code, result.reason) == (4, "budget:tokens")
    assert (result.usage.attempts, result.usage.charged_tokens) == (2, 180_006)
    assert [(one.fields["role"], one.fields["charged_tokens"]) for one in told] == [("writer", "90003")]
