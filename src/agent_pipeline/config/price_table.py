"""Prices that a pipeline file writes down, over those of the price list."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from agent_pipeline.config.prices import FindPrice, Price, find_price
from agent_pipeline.config.rates import Rates, rate_of
from agent_pipeline.config.role_models import Name
from agent_pipeline.config.source_map import SourceMap
from agent_pipeline.config.validation import ConfigModel, did_you_mean

DEAREST = 1_000_000
"""Dollars per million tokens; with the smallest step below, every written number is exact."""

FREE = "free"
"""In the place of a model's prices: it costs nothing. A zero could be a slip, a word is none."""


def _usd_per_million(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("an amount in dollars per million tokens is wanted, such as 0.25")  # noqa: TRY004 - pydantic
    # By way of its shortest text, so that 0.1 is a tenth and not the nearest binary fraction.
    amount = Decimal(str(value))
    if not amount.is_finite() or amount > DEAREST or rate_of(amount) is None:
        raise ValueError(f"an amount of at most {DEAREST:,} dollars with at most 9 decimals is wanted")
    return amount


_Amount = BeforeValidator(_usd_per_million)
_Charged = Annotated[Decimal, _Amount, Field(gt=0)]
_Reduced = Annotated[Decimal, _Amount, Field(ge=0)]


class ModelPriceConfig(ConfigModel):
    """What a model's tokens cost, in dollars per million tokens; or the word `free` in its place.

    Attributes:
        input: of input that no cache held.
        output: of output.
        cached_input: of input that a cache held; None like other input.
        reasoning: of the part of the output that is reasoning; None like other output.
    """

    input: _Charged
    output: _Charged
    cached_input: _Reduced | None = None
    reasoning: _Charged | None = None

    def rates(self) -> Rates:
        """Return the rates per token."""
        amounts = (
            self.input,
            self.input if self.cached_input is None else self.cached_input,
            self.output,
            self.output if self.reasoning is None else self.reasoning,
        )
        return Rates(*(rate_of(amount) or 0 for amount in amounts))


def _mapping_or_free(value: object) -> object:
    if value == FREE:
        return ModelPriceConfig.model_construct(input=Decimal(0), output=Decimal(0))
    if not isinstance(value, dict | ModelPriceConfig):
        raise ValueError(f"a mapping such as {{input: 0.25, output: 2}} is wanted, or the word {FREE}")  # noqa: TRY004
    return value


PriceTable = dict[Name, dict[Name, Annotated[ModelPriceConfig, BeforeValidator(_mapping_or_free)]]]
"""By provider, then by model."""


def priced_by(table: Mapping[str, Mapping[str, ModelPriceConfig]]) -> FindPrice:
    """Return what finds prices: those of the table first, then those of the price list."""
    written = {(provider, model): price.rates() for provider, of in table.items() for model, price in of.items()}

    def find(provider: str, model: str) -> Price | Rates | None:
        return written.get((provider, model)) or find_price(provider, model)

    return find


def check_used(
    table: Mapping[str, Mapping[str, ModelPriceConfig]], used: Iterable[tuple[str, str]], source: SourceMap
) -> None:
    """Refuse a price that nobody would ever be charged: it was meant for another model.

    Args:
        table: what is written.
        used: provider and model of each role.
        source: of the pipeline file.

    Raises:
        ConfigError: no role uses such a provider, or such a model of it.
    """
    models: dict[str, set[str]] = {}
    for provider, model in used:
        models.setdefault(provider, set()).add(model)
    for provider, prices in table.items():
        if provider not in models:
            hint = did_you_mean(provider, models)
            raise source.error(f"a price for a provider that no role uses{hint}", ("prices", provider))
        for model in prices:
            if model not in models[provider]:
                hint = did_you_mean(model, models[provider])
                raise source.error(f"a price for a model that no role uses{hint}", ("prices", provider, model))
