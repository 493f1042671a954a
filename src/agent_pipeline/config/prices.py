"""What a model's tokens cost, from the price list that comes with genai-prices; nothing is fetched."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import TYPE_CHECKING

from agent_pipeline.domain.usage import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_RATE_UNIT = 10**9
"""Rates are kept as whole parts of a micro-dollar per token."""


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
    _rates: "tuple[int, int, int] | None" = field(repr=False)

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in micro-dollars, rounded up; cached input at its own price, where the model has one.

        Output of a model that has no price for output (an embedding model) is charged like input: not nothing.
        """
        inputs = max(usage.input_tokens, 0)
        outputs = max(usage.output_tokens, 0)
        cached = min(max(usage.cached_input_tokens, 0), inputs)
        if not self._output_is_priced:
            inputs, outputs = inputs + outputs, 0
        if self._rates is not None:
            fresh_rate, cached_rate, output_rate = self._rates
            return -(-((inputs - cached) * fresh_rate + cached * cached_rate + outputs * output_rate) // _RATE_UNIT)
        return self._tiered(inputs, cached, outputs)

    def _tiered(self, inputs: int, cached: int, outputs: int) -> int:
        """Let the price list compute what depends on the size of the request; a hundred times slower."""
        from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - half a second, only where money matters

        priced = PricedUsage(input_tokens=inputs, cache_read_tokens=cached, output_tokens=outputs)
        cost = self._model.calc_price(priced, self._provider).total_price
        return int((cost * 1_000_000).to_integral_value(rounding=ROUND_CEILING))


@cache
def find_price(provider: str, model: str) -> Price | None:
    """Return the price of a provider's model, None where it is not known.

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
    )


def _flat_rates(prices: "ModelPrice") -> tuple[int, int, int] | None:
    """Return the rates of fresh input, cached input and output per token, None where that is not all there is to it."""
    fresh, output = prices.input_mtok, prices.output_mtok
    cached = fresh if prices.cache_read_mtok is None else prices.cache_read_mtok
    if prices.requests_kcount is not None:
        return None
    rates: list[int] = []
    for dollars_per_million in (fresh, cached, Decimal(0) if output is None else output):
        if not isinstance(dollars_per_million, Decimal) or (scaled := dollars_per_million * _RATE_UNIT) % 1:
            return None
        rates.append(int(scaled))
    return rates[0], rates[1], rates[2]
