"""Budgets that could not hold are refused, and flags pass the same checks as what is written."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.config.pipeline_files import HEAD, ROLES, Load, limits, refusal

from agent_pipeline.config.pipeline import BudgetConfig, Overrides

UNCAPPED = ROLES + "  free: {provider: openai, model: gpt-5-nano}\n"


UNPRICED = ROLES + "  new: {provider: openai, model: never-heard-of, params: {max_tokens: 5}}\n"


@pytest.mark.parametrize("budget", ["tokens: 5", "usd: 0.5"])
def test_any_budget_needs_a_cap_for_every_chat_role(load: Load, tmp_path: Path, budget: str) -> None:
    """Without a cap the worst case of a request is unknown, and nothing could be reserved for it."""
    error = refusal(load, limits(f"budget: {{{budget}}}"), roles=UNCAPPED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert (error.key, "params.max_tokens" in error.problem) == ("roles.free", True)
    assert load(HEAD, roles=UNCAPPED).limits.budget.tokens is None


def test_defaults_need_a_cap_too(load: Load) -> None:
    """Any role may run on them."""
    error = refusal(load, limits("budget: {tokens: 5}"), roles=ROLES + "defaults: {provider: openai, model: m}\n")

    assert error.key == "defaults"


def test_an_embedding_role_needs_no_cap(load: Load) -> None:
    """It has no output."""
    roles = ROLES + "  embed: {provider: openai, model: text-embedding-3-small, mode: embedding}\n"

    assert load(limits("budget: {tokens: 5, usd: 1}"), roles=roles).limits.budget.tokens == 5


def test_a_money_budget_needs_a_price_for_every_model(load: Load, tmp_path: Path) -> None:
    """An unknown price is not nothing."""
    error = refusal(load, limits("budget: {usd: 0.5}"), roles=UNPRICED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert "'never-heard-of'" in error.problem
    assert load(limits("budget: {tokens: 5}"), roles=UNPRICED).limits.budget.tokens == 5


def test_money_is_exact(load: Load) -> None:
    """0.1 dollars are 100,000 micro-dollars, not one less."""
    budget = load(limits("budget: {usd: 0.1}")).limits.budget

    assert (budget.usd, budget.micro_usd) == (Decimal("0.1"), 100_000)
    assert BudgetConfig(usd=Decimal("0.0000019")).micro_usd == 1


def test_overrides_take_the_place_of_what_is_written(load: Load) -> None:
    """Each flag changes its one value and nothing else; the texts stay those of the files."""
    plain = load(limits("budget: {tokens: 5}"))
    overrides = Overrides(
        budget_tokens=7,
        budget_usd=Decimal("1.5"),
        documents_in_flight=3,
        run_timeout=2.0,
        role_models={"capped": "gpt-5-mini"},
        base_urls={"openai": "http://127.0.0.1:8080/v1"},
    )

    config = load(limits("budget: {tokens: 5}"), overrides=overrides)

    assert config.limits.budget == BudgetConfig(tokens=7, usd=Decimal("1.5"))
    assert config.limits.documents_in_flight == 3
    assert config.limits.timeouts == plain.limits.timeouts.model_copy(update={"run": 2.0})
    assert config.runtime.roles["capped"] == plain.runtime.roles["capped"].model_copy(update={"model": "gpt-5-mini"})
    assert config.runtime.providers["openai"].base_url == "http://127.0.0.1:8080/v1"
    assert (config.text, config.roles_text) == (plain.text, plain.roles_text)


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (Overrides(budget_tokens=0), "--budget-tokens", "greater than 0"),
        (Overrides(budget_usd=Decimal("NaN")), "--budget-usd", "at least"),
        (Overrides(budget_usd=Decimal(0)), "--budget-usd", "at least"),
        (Overrides(documents_in_flight=-1), "--documents-in-flight", "greater than 0"),
        (Overrides(run_timeout=0), "--timeout", "greater than 0"),
        (Overrides(run_timeout=float("inf")), "--timeout", "finite"),
        (Overrides(role_models={"caped": "m"}), "--role caped", "did you mean 'capped'?"),
        (Overrides(role_models={"capped": " "}), "--role capped", "name of a model"),
        (Overrides(base_urls={"opneai": "https://h"}), "--base-url opneai", "did you mean 'openai'?"),
        (Overrides(base_urls={"openai": "http://example.com"}), "--base-url openai", "this machine only"),
    ],
)
def test_overrides_pass_the_same_checks(load: Load, overrides: Overrides, key: str, words: str) -> None:
    """A flag is no way around a check; the error names the flag."""
    error = refusal(load, HEAD, overrides=overrides)

    assert (error.place, error.key) == ("command line", key)
    assert words in error.problem


def test_overrides_are_part_of_the_cross_checks(load: Load) -> None:
    """A budget from the command line needs caps and prices, also of a model from the command line."""
    assert refusal(load, HEAD, roles=UNCAPPED, overrides=Overrides(budget_tokens=5)).key == "roles.free"
    strange = Overrides(budget_usd=Decimal(1), role_models={"capped": "never-heard-of"})
    assert "'never-heard-of'" in refusal(load, HEAD, overrides=strange).problem
