"""The configs in the repository: valid, alike, and sufficient for what they are for."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from agent_pipeline.config.pipeline import BUILT_IN_STAGES, Overrides, PipelineConfig, load_pipeline_config
from agent_pipeline.config.prices import find_price

CONFIGS = Path(__file__).parents[2] / "configs"
BOTH = ["smoke.yaml", "smoke_gpt5_nano.json"]
DOCUMENT_BYTES = 30_000
PROMPT_BYTES = 6_000
"""Instructions, output schema and JSON quoting around a document."""


def shipped(name: str) -> PipelineConfig:
    return load_pipeline_config(CONFIGS / name)


@pytest.mark.parametrize("name", BOTH)
def test_the_shipped_pipelines_are_the_default_pipeline(name: str) -> None:
    """All built-in stages in their order, with rework."""
    config = shipped(name)

    assert [stage.name for stage in config.stages] == list(BUILT_IN_STAGES)
    assert (config.stages[2].rework_to, config.stages[2].max_reworks) == ("transform", 2)
    assert config.artifacts == CONFIGS.parent.resolve() / "artifacts" / "smoke_output"
    assert config.logs == CONFIGS.parent.resolve() / "logs"


@pytest.mark.parametrize("name", BOTH)
def test_a_money_budget_works_with_the_shipped_roles(name: str) -> None:
    """Every role has a cap and its model a price."""
    load_pipeline_config(CONFIGS / name, Overrides(budget_usd=Decimal("0.5")))


@pytest.mark.parametrize("name", BOTH)
def test_caps_leave_room_and_the_budget_lasts_for_24_documents(name: str) -> None:
    """A document of 30 kB has to be rewritten whole, and 24 such requests at once have to fit with half to spare.

    Text takes at least two bytes a token, and a byte is at most one token.
    """
    config = shipped(name)
    roles = config.runtime.roles
    total = config.limits.budget.tokens

    assert total is not None
    for specialist in ("markdown_cleaner", "notebook_refactor"):
        cap = roles[specialist].output_cap
        assert cap is not None
        assert cap >= DOCUMENT_BYTES / 2
        assert 24 * (DOCUMENT_BYTES + PROMPT_BYTES + cap) <= total
    review_cap = roles["reviewer"].output_cap
    assert review_cap is not None
    assert 24 * (2 * DOCUMENT_BYTES + PROMPT_BYTES + review_cap) <= total


def test_both_role_files_differ_in_model_and_params_only() -> None:
    """The instructions stand in both files; a correction in one belongs into the other."""
    one, other = (shipped(name).runtime for name in BOTH)

    assert {name: role.instructions for name, role in one.roles.items()} == {
        name: role.instructions for name, role in other.roles.items()
    }
    assert set(one.roles) == {"router", "markdown_cleaner", "notebook_refactor", "reviewer", "namer"}
    assert one.providers == other.providers
    assert all(role.instructions for role in one.roles.values())


def test_gpt5_nano_gets_only_what_a_reasoning_model_accepts() -> None:
    """It refuses a temperature."""
    roles = shipped("smoke_gpt5_nano.json").runtime.roles

    assert {role.model for role in roles.values()} == {"gpt-5-nano"}
    assert all(set(role.params) == {"max_tokens", "reasoning_effort", "verbosity"} for role in roles.values())
    assert find_price("openai", "gpt-5-nano") is not None


def test_loading_imports_nothing_heavy_and_touches_no_environment() -> None:
    """`--help` and `check` stay fast; only a money budget needs the price list."""
    program = (
        "import os, sys; before = dict(os.environ)\n"
        "from agent_pipeline.config import environment, pipeline\n"
        f"pipeline.load_pipeline_config({str(CONFIGS / 'smoke.yaml')!r})\n"
        "heavy = {'openai', 'agents', 'trio', 'asyncio', 'httpx2', 'genai_prices'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy or dict(os.environ) != before else 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
