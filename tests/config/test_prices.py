"""What tokens cost: integer micro-dollars, rounded up, unknown is not nothing."""

from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Tier, TieredPrices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline.config.prices import Price, _may_be_dearer, find_price
from agent_pipeline.domain.usage import Usage


def price(model: str) -> Price:
    found = find_price("openai", model)
    assert found is not None
    return found


def test_a_known_model_costs_what_its_provider_says() -> None:
    """gpt-5-nano, per million tokens: input 0.05, cached input 0.005, output 0.40 dollars (November 2026)."""
    nano = price("gpt-5-nano")

    assert nano.cost_micro_usd(Usage(input_tokens=1_000_000)) == 50_000
    assert nano.cost_micro_usd(Usage(output_tokens=1_000_000)) == 400_000
    assert nano.cost_micro_usd(Usage(input_tokens=1_000_000, cached_input_tokens=400_000)) == 30_000 + 2_000
    assert nano.cost_micro_usd(Usage(output_tokens=1_000_000, reasoning_tokens=900_000)) == 400_000


def test_a_fraction_of_a_micro_dollar_counts_as_one() -> None:
    """A budget that rounds down can be passed by small requests."""
    assert price("gpt-5-nano").cost_micro_usd(Usage(input_tokens=1)) == 1
    assert price("gpt-5-nano").cost_micro_usd(Usage()) == 0


def test_a_dated_model_has_the_price_of_its_name() -> None:
    """Providers answer with the dated name."""
    assert price("gpt-5-nano-2025-08-07").priced_as == "gpt-5-nano"


def test_what_is_not_in_the_list_has_no_price() -> None:
    """None, never 0: nothing may be called free because it is unknown."""
    assert find_price("openai", "never-heard-of") is None
    assert find_price("never-heard-of", "gpt-5-nano") is None
    assert find_price("", "") is None


def test_a_model_listed_without_figures_has_no_price() -> None:
    """The list holds models whose prices are empty."""
    assert find_price("google", "gemma-3") is None


def test_output_of_an_embedding_model_is_charged_as_input() -> None:
    """It should have none; should one be reported, it is not free."""
    small = price("text-embedding-3-small")

    assert small.cost_micro_usd(Usage(output_tokens=1_000_000)) == small.cost_micro_usd(Usage(input_tokens=1_000_000))


tokens = st.integers(0, 10_000_000)


def test_the_fast_way_gives_what_the_price_list_computes_for_every_model() -> None:
    """Rates multiplied out must hold for each listed model that uses them; 41 and 17 make parts of a micro-dollar."""
    found = [find_price(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    flat = [one for one in found if one is not None and one._rates is not None]
    slow = [one._listed(76, 41, 10, 7) for one in flat]

    assert len(flat) > 500
    assert [one.cost_micro_usd(Usage(117, 17, 41, 7)) for one in flat] == slow


def test_a_fee_per_request_is_not_lost_to_the_fast_way() -> None:
    """Some providers charge each request beside its tokens."""
    sonar = find_price("perplexity", "sonar")

    assert sonar is not None
    assert sonar.cost_micro_usd(Usage(input_tokens=1)) > 1_000


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inputs=tokens, outputs=tokens, cached=tokens)
def test_more_tokens_never_cost_less_and_the_cache_never_costs_more(inputs: int, outputs: int, cached: int) -> None:
    """A reservation of the worst case has to cover every settlement below it, also of nonsense usage."""
    nano = price("gpt-5-nano")

    worst = nano.cost_micro_usd(Usage(inputs, outputs))

    assert nano.cost_micro_usd(Usage(inputs, outputs, cached_input_tokens=cached)) <= worst
    assert worst <= nano.cost_micro_usd(Usage(inputs + 1, outputs + 1))
    assert worst >= 0


def test_no_listed_model_costs_more_than_its_worst_case() -> None:
    """Of some, cached input costs more than fresh; with others the price depends on the size of the request."""
    found = [find_price(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    known = [one for one in found if one is not None]
    dear = [one for one in known if one._cached_may_be_dearer]

    assert dear
    assert all(one.worst_case_micro_usd(9_000, 0) >= one.cost_micro_usd(Usage(9_000, 0, 9_000)) for one in dear)
    for one in known:
        worst = one.worst_case_micro_usd(300_000, 900)
        for cached, reasoning in ((0, 0), (300_000, 0), (0, 900), (300_000, 900)):
            assert one.cost_micro_usd(Usage(300_000, 900, cached, reasoning)) <= worst


def test_a_special_rate_may_be_dearer_where_its_highest_is_above_the_lowest_usual_one() -> None:
    """Of a price with tiers nobody knows before which of them counts."""
    tiered = TieredPrices(base=Decimal(2), tiers=[Tier(start=100, price=Decimal(4))])

    assert _may_be_dearer(Decimal(3), Decimal(2))
    assert _may_be_dearer(Decimal(3), tiered)
    assert _may_be_dearer(tiered, Decimal(3))
    for special, usual in ((Decimal(2), Decimal(2)), (Decimal(2), tiered), (None, Decimal(2)), (Decimal(3), None)):
        assert not _may_be_dearer(special, usual)
