"""Budgets that could not hold are refused, and flags pass the same checks as what is written."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.config.pipeline_files import HEAD, ROLES, Load, limits, refusal

from agent_pipeline.config.pipeline import BudgetConfig, Overrides

UNCAPPED = ROLES + "  free: {provider: openai, model: gpt-5-nano}\n"


UNPRICED = ROLES + "  new: {provider: openai, model: never-heard-of, params: {max_tokens: 5}}\n"


KINDS = ("budget", "budget_per_document", "role")


@pytest.mark.parametrize("budget", ["tokens: 5", "usd: 0.5"])
def test_any_budget_needs_a_cap_for_every_chat_role(load: Load, tmp_path: Path, budget: str) -> None:
    """Without a cap the worst case of a request is unknown, and nothing could be reserved for it."""
    error = refusal(load, limits(f"budget: {{{budget}}}"), roles=UNCAPPED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert (error.key, "params.max_tokens" in error.problem) == ("roles.free", True)
    assert load(HEAD, roles=UNCAPPED).limits.budget.tokens is None


@pytest.mark.parametrize("budget", ["tokens: 5", "usd: 0.5"])
def test_a_documents_budget_needs_the_same(load: Load, tmp_path: Path, budget: str) -> None:
    """Any role may be asked for any document."""
    error = refusal(load, limits(f"budget_per_document: {{{budget}}}"), roles=UNCAPPED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert (error.key, "params.max_tokens" in error.problem) == ("roles.free", True)


def test_a_documents_money_needs_a_price_for_every_model(load: Load) -> None:
    """As the run's does; its tokens need none."""
    assert "'never-heard-of'" in refusal(load, limits("budget_per_document: {usd: 0.5}"), roles=UNPRICED).problem
    assert load(limits("budget_per_document: {tokens: 5}"), roles=UNPRICED).limits.budget_per_document.tokens == 5


@pytest.mark.parametrize("budget", ["budget_tokens: 5", "budget_usd: 0.5"])
def test_a_roles_budget_needs_an_output_cap(load: Load, tmp_path: Path, budget: str) -> None:
    """Of that role alone."""
    roles = ROLES + f"  free: {{provider: openai, model: gpt-5-nano, {budget}}}\n"

    error = refusal(load, HEAD, roles=roles)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:47"
    assert error.key == f"roles.free.{budget.partition(':')[0]}"


def test_a_roles_money_needs_the_price_of_its_model_alone(load: Load, tmp_path: Path) -> None:
    """The others' models are not charged to it."""
    priced = UNPRICED.replace("params: {max_tokens: 100}", "params: {max_tokens: 100}\n    budget_usd: 0.5")
    unpriced = UNPRICED.replace("{max_tokens: 5}", "{max_tokens: 5}, budget_usd: 0.5")

    assert load(HEAD, roles=priced).runtime.roles["capped"].budget_usd == Decimal("0.5")
    error = refusal(load, HEAD, roles=unpriced)
    assert (error.place, error.key) == (
        f"{tmp_path / 'configs' / 'roles.yaml'}:9:75",
        "roles.new.budget_usd",
    )


@pytest.mark.parametrize("key", ["tokens", "usd"])
def test_a_documents_budget_above_the_runs_is_refused(load: Load, tmp_path: Path, key: str) -> None:
    """It could never be reached; equal ones can, and a lower one of the command line is no mistake in the file."""
    error = refusal(load, limits(f"{{budget: {{{key}: 5}}, budget_per_document: {{{key}: 6}}}}"))

    assert error.place == f"{tmp_path / 'configs' / 'pipeline.yaml'}:8:{47 if key == 'tokens' else 44}"
    assert (error.key, "exceeds the whole run's (5 " in error.problem) == (f"limits.budget_per_document.{key}", True)
    text = limits("{budget: {tokens: 5}, budget_per_document: {tokens: 5}}")
    assert load(text, overrides=Overrides(budget_tokens=3)).limits.budget.tokens == 3


BAD_AMOUNTS = {
    "tokens": ["-1", "0", "1.5", ".nan", "'5'", "true", "1e9", "2000000000000"],
    "usd": ["-1", "0", ".nan", ".inf", "'5'", "true", "0.0000001", "2000000000"],
}


@pytest.mark.parametrize(
    ("key", "amount"), [(f"{kind}.{unit}", bad) for kind in KINDS for unit, bads in BAD_AMOUNTS.items() for bad in bads]
)
def test_an_amount_that_makes_no_sense_is_refused_where_it_stands(load: Load, key: str, amount: str) -> None:
    """Negative, nothing, no number: with file, line and key."""
    kind, _, unit = key.partition(".")
    if kind == "role":
        roles = ROLES + f"    budget_{unit}: {amount}\n"
        error, name, line = refusal(load, HEAD, roles=roles), f"roles.capped.budget_{unit}", "roles.yaml:9:"
    else:
        error = refusal(load, f"{HEAD}limits:\n  {kind}:\n    {unit}: {amount}\n")
        name, line = f"limits.{kind}.{unit}", "pipeline.yaml:9:"

    assert (error.key, line in error.place) == (name, True)


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
