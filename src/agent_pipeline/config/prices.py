"""What a model's tokens cost, from the price list that comes with genai-prices; nothing is fetched."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from agent_pipeline.config.rates import Rates, parts_of, rate_of
from agent_pipeline.domain.usage import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

    Listed = Decimal | TieredPrices | None


@dataclass(frozen=True, slots=True)
class Price:
    """The known price of one model.

    Attributes:
        provider: provider id as asked for.
        model: model as asked for.
        priced_as: id of the model in the price list.
    """

    provider: str
    model: str
    priced_as: str
    _provider: "Provider" = field(repr=False)
    _model: "ModelInfo" = field(repr=False)
    _output_is_priced: bool = field(repr=False)
    _rates: Rates | None = field(repr=False)
    _cached_may_be_dearer: bool = field(repr=False)
    _reasoning_may_be_dearer: bool = field(repr=False)

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in micro-dollars, rounded up; cached input and reasoning at prices of their own, if any.

        Output of a model that has no price for output (an embedding model) is charged like input: not nothing.
        """
        if self._rates is not None:
            return self._rates.cost_micro_usd(usage)
        return self._listed(*parts_of(usage))

    def worst_case_micro_usd(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that so many tokens can cost, of whatever kind they turn out to be."""
        if self._rates is not None:
            return self._rates.worst_case_micro_usd(input_tokens, output_tokens)
        # Of one size, a request costs so much per token of each kind: the dearest is all of one kind.
        inputs = [(input_tokens, 0), (0, input_tokens)][: 1 + self._cached_may_be_dearer]
        outputs = [(output_tokens, 0), (0, output_tokens)][: 1 + self._reasoning_may_be_dearer]
        return max(self._listed(*one, *other) for one, other in product(inputs, outputs))

    def _listed(self, fresh: int, cached: int, output: int, reasoning: int) -> int:
        """Let the price list compute what depends on the size of the request; a hundred times slower."""
        from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - half a second, only where money matters

        if not self._output_is_priced:
            fresh, output, reasoning = fresh + output + reasoning, 0, 0
        priced = PricedUsage(
            input_tokens=fresh + cached,
            cache_read_tokens=cached,
            output_tokens=output + reasoning,
            output_reasoning_tokens=reasoning,
        )
        cost = self._model.calc_price(priced, self._provider).total_price
        return int((cost * 1_000_000).to_integral_value(rounding=ROUND_CEILING))


FindPrice = Callable[[str, str], Price | Rates | None]
"""Takes provider and model."""


@cache
def find_price(provider: str, model: str) -> Price | None:
    """Return the listed price of a provider's model, None where it is not known.

    The first call imports the price list (about half a second); it never uses the network.
    """
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - half a second, only where money matters

    try:
        owner, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    prices = info.get_prices(datetime.now(tz=UTC))
    if prices.input_mtok is None:
        return None
    return Price(
        provider=provider,
        model=model,
        priced_as=info.id,
        _provider=owner,
        _model=info,
        _output_is_priced=prices.output_mtok is not None,
        _rates=_flat_rates(prices),
        _cached_may_be_dearer=_may_be_dearer(prices.cache_read_mtok, prices.input_mtok),
        _reasoning_may_be_dearer=_may_be_dearer(prices.output_reasoning_mtok, prices.output_mtok),
    )


@cache
def context_window(provider: str, model: str) -> int | None:
    """Return how many tokens a request and its answer may have together, None where the price list does not know it."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - half a second, only where it is asked for

    try:
        _, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    return info.context_window


def _may_be_dearer(special: "Listed", usual: "Listed") -> bool:
    """Tell whether the one price can ever be above the other, whatever size the request has."""
    if special is None or usual is None:
        return False
    return max(_levels(special)) > min(_levels(usual))


def _levels(price: "Decimal | TieredPrices") -> list[Decimal]:
    return [price] if isinstance(price, Decimal) else [price.base, *(tier.price for tier in price.tiers)]


def _flat_rates(prices: "ModelPrice") -> Rates | None:
    """Return the rates of each kind of token, None where that is not all there is to it."""
    fresh = prices.input_mtok
    output = fresh if prices.output_mtok is None else prices.output_mtok
    cached = fresh if prices.cache_read_mtok is None else prices.cache_read_mtok
    reasoning = output if prices.output_reasoning_mtok is None else prices.output_reasoning_mtok
    if prices.requests_kcount is not None:
        return None
    rates: list[int] = []
    for usd_per_million in (fresh, cached, output, reasoning):
        if not isinstance(usd_per_million, Decimal) or (rate := rate_of(usd_per_million)) is None:
            return None
        rates.append(rate)
    return Rates(*rates)
