"""Prices written in a pipeline file: exact, over the price list, and refused where they could be charged to nobody."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.pipeline_files import HEAD, ROLES, Load, refusal

from agent_pipeline.config.pipeline import Overrides
from agent_pipeline.config.price_table import ModelPriceConfig, priced_by
from agent_pipeline.config.prices import find_price
from agent_pipeline.config.rates import RATE_UNIT, Rates
from agent_pipeline.domain.usage import Usage

TWO = (
    ROLES
    + "  new: {provider: openai, model: never-heard-of, params: {max_tokens: 5}, fallback: spare}\n"
    + "  spare: {provider: openai, model: spare-model, params: {max_tokens: 5}}\n"
)
MONEY = "limits: {budget: {usd: 1}}\n"


def prices(text: str) -> str:
    """A pipeline whose line 8 is this provider's entry of `prices`."""
    return f"{HEAD}prices:\n  {text}\n"


def rates(**amounts: str) -> Rates:
    """Return the rates of a price in dollars per million tokens."""
    return ModelPriceConfig.model_validate({name: Decimal(amount) for name, amount in amounts.items()}).rates()


def test_a_written_price_is_what_a_model_costs(load: Load) -> None:
    """Over the list's, for that provider's model alone; the rest stays in force."""
    config = load(prices("openai: {gpt-5-nano: {input: 7, output: 9}}"))
    find = priced_by(config.prices)

    written = find("openai", "gpt-5-nano")
    assert written is not None
    assert written.cost_micro_usd(Usage(1_000_000, 1_000_000)) == 16_000_000
    assert find("azure", "gpt-5-nano") == find_price("azure", "gpt-5-nano")
    assert find("openai", "gpt-5-mini") == find_price("openai", "gpt-5-mini")
    assert find("openai", "never-heard-of") is None


def test_a_budget_in_dollars_may_rest_on_written_prices(load: Load) -> None:
    """They are as good as listed ones; the message of a missing one says so."""
    text = prices("openai: {never-heard-of: {input: 1, output: 2}, spare-model: free}") + MONEY

    assert load(text, roles=TWO).limits.budget.micro_usd == 1_000_000
    assert "write it under `prices`" in refusal(load, HEAD + MONEY, roles=TWO).problem


def test_cached_input_and_reasoning_have_prices_of_their_own() -> None:
    """Both are parts of what they are reported beside, and counted once."""
    price = rates(input="1", output="10", cached_input="0.1", reasoning="20")

    assert price.cost_micro_usd(Usage(1_000_000, 1_000_000)) == 11_000_000
    assert price.cost_micro_usd(Usage(1_000_000, 1_000_000, cached_input_tokens=400_000)) == 10_640_000
    assert price.cost_micro_usd(Usage(1_000_000, 1_000_000, reasoning_tokens=900_000)) == 20_000_000
    assert rates(input="1", output="10").cost_micro_usd(Usage(1_000_000, 1_000_000, 400_000, 900_000)) == 11_000_000


def test_the_worst_case_is_all_of_the_dearest_kind() -> None:
    """Nobody knows before how much of it a cache holds, or how long the model thinks."""
    usual = rates(input="1", output="10", cached_input="0.1", reasoning="20")
    odd = rates(input="1", output="10", cached_input="3", reasoning="2")

    assert usual.worst_case_micro_usd(1_000_000, 1_000_000) == 21_000_000
    assert odd.worst_case_micro_usd(1_000_000, 1_000_000) == 13_000_000


@pytest.mark.parametrize("usage", [Usage(10, 10, 11, 11), Usage(10, 10, -1, -1), Usage(-5, -5, 3, 3)])
def test_an_odd_report_never_costs_less_than_nothing_nor_more_than_its_tokens(usage: Usage) -> None:
    """A part beyond its whole is the whole; fewer than none are none."""
    price = rates(input="1", output="1", cached_input="1", reasoning="1")

    assert price.cost_micro_usd(usage) == max(usage.input_tokens, 0) + max(usage.output_tokens, 0)


amounts = st.decimals(min_value=0, max_value=1_000_000, places=9, allow_nan=False)
tokens = st.integers(0, 10_000_000)


@given(
    parts=st.tuples(amounts, amounts, amounts, amounts), inputs=tokens, outputs=tokens, cached=tokens, reasoning=tokens
)
def test_no_usage_within_its_bounds_costs_more_than_the_worst_case(
    parts: tuple[Decimal, ...], inputs: int, outputs: int, cached: int, reasoning: int
) -> None:
    """And none is rounded the wrong way: the exact cost is at most a micro-dollar below what is charged."""
    price = Rates(*(int(part * RATE_UNIT) for part in parts))
    cached, reasoning = min(cached, inputs), min(reasoning, outputs)

    cost = price.cost_micro_usd(Usage(inputs, outputs, cached, reasoning))

    exact = (inputs - cached) * parts[0] + cached * parts[1] + (outputs - reasoning) * parts[2] + reasoning * parts[3]
    assert 0 <= cost - exact < 1
    assert cost <= price.worst_case_micro_usd(inputs, outputs)


def test_written_prices_are_exact() -> None:
    """A tenth is a tenth: a million tokens at 0.1 dollars are 100,000 micro-dollars, not one more."""
    assert rates(input="0.1", output="0.000000001").cost_micro_usd(Usage(1_000_000, 0)) == 100_000
    largest = ModelPriceConfig.model_validate({"input": 999999.123456789, "output": 1}).rates()
    assert largest.fresh == 999_999_123_456_789


def test_what_costs_nothing_is_said_in_a_word(load: Load) -> None:
    """A model on one's own machine; a zero might be a slip."""
    config = load(prices("openai: {gpt-5-nano: free}") + MONEY)

    found = priced_by(config.prices)("openai", "gpt-5-nano")
    assert found is not None
    assert (found.cost_micro_usd(Usage(10, 10)), found.worst_case_micro_usd(10, 10)) == (0, 0)


@pytest.mark.parametrize(
    ("entry", "column", "key", "words"),
    [
        ("{gpt-5-nano: {input: -1, output: 2}}", 25, "gpt-5-nano.input", "greater than 0"),
        ("{gpt-5-nano: {input: 0, output: 2}}", 25, "gpt-5-nano.input", "greater than 0"),
        ("{gpt-5-nano: {input: 1, output: 0}}", 35, "gpt-5-nano.output", "greater than 0"),
        ("{gpt-5-nano: {input: .nan, output: 2}}", 32, "gpt-5-nano.input", "finite"),
        ("{gpt-5-nano: {input: 1e300, output: 2}}", 25, "gpt-5-nano.input", "at most 1,000,000 dollars"),
        ("{gpt-5-nano: {input: 0.0000000001, output: 2}}", 25, "gpt-5-nano.input", "9 decimals"),
        ("{gpt-5-nano: {input: '1', output: 2}}", 25, "gpt-5-nano.input", "dollars per million tokens"),
        ("{gpt-5-nano: {input: true, output: 2}}", 25, "gpt-5-nano.input", "dollars per million tokens"),
        ("{gpt-5-nano: {input: null, output: 2}}", 25, "gpt-5-nano.input", "dollars per million tokens"),
        ("{gpt-5-nano: {input: 1, output: 2, cached_input: -1}}", 46, "gpt-5-nano.cached_input", "greater than or"),
        ("{gpt-5-nano: {input: 1, output: 2, reasoning: 0}}", 46, "gpt-5-nano.reasoning", "greater than 0"),
        ("{gpt-5-nano: {input: 1}}", 12, "gpt-5-nano.output", "missing"),
        ("{gpt-5-nano: {input: 1, output: 2, cached: 1}}", 46, "gpt-5-nano.cached", "did you mean 'cached_input'?"),
        ("{gpt-5-nano: cheap}", 12, "gpt-5-nano", "or the word free"),
        ("{gpt-5-nano: 0.5}", 12, "gpt-5-nano", "or the word free"),
        ("{gpt-5-nano: null}", 12, "gpt-5-nano", "or the word free"),
        ("{gpt-5-nanno: free}", 12, "gpt-5-nanno", "no role uses; did you mean 'gpt-5-nano'?"),
        ("0.5", 3, "", "mapping"),
    ],
)
def test_a_price_that_can_not_be_meant_is_refused_where_it_stands(
    load: Load, entry: str, column: int, key: str, words: str
) -> None:
    """With its line, and the name that was probably meant."""
    error = refusal(load, prices(f"openai: {entry}"))

    assert error.place.endswith(f"{Path('configs', 'pipeline.yaml')}:8:{column}")
    assert error.key == ".".join(filter(None, ("prices.openai", key)))
    assert words in error.problem


def test_a_price_of_a_provider_nobody_uses_is_refused(load: Load) -> None:
    """The provider may be there; without a role that uses it, the price was meant for another."""
    error = refusal(load, prices("opnai: {gpt-5-nano: {input: 1, output: 2}}"))

    assert (error.key, "did you mean 'openai'?" in error.problem) == ("prices.opnai", True)


def test_roles_that_others_fall_back_to_and_defaults_use_their_models(load: Load) -> None:
    """Any of them may be asked."""
    roles = TWO + "defaults: {provider: openai, model: common, params: {max_tokens: 5}}\n"

    assert load(prices("openai: {spare-model: free, common: free}"), roles=roles).prices["openai"].keys() == {
        "spare-model",
        "common",
    }


def test_a_model_of_the_command_line_is_used_and_the_one_it_replaces_keeps_its_price(load: Load) -> None:
    """The file was right without the flag, and the flag's model can be priced in it."""
    overrides = Overrides(role_models={"capped": "mine"})

    assert load(prices("openai: {gpt-5-nano: free, mine: free}") + MONEY, overrides=overrides).prices
    assert "never" in refusal(load, HEAD + MONEY, overrides=Overrides(role_models={"capped": "never"})).problem


def test_a_models_long_name_is_not_taken_for_a_key(load: Load) -> None:
    """Names of models are of others' making; a known form of a key is refused all the same."""
    name = "Meta-Llama-3-1-8B-Instruct-Q4_K_M-GGUF"
    roles = ROLES.replace("gpt-5-nano", name)

    assert load(prices(f"openai: {{{name}: free}}"), roles=roles).prices["openai"][name].input == 0
    assert "looks like a key" in refusal(load, prices("openai: {sk-proj-abcdefgh12345678: free}")).problem
