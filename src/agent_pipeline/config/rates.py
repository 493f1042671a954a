"""What one token of each kind costs, and how that adds up; whole numbers throughout."""

from dataclasses import dataclass
from decimal import Decimal

from agent_pipeline.domain.usage import Usage

RATE_UNIT = 10**9
"""Rates are whole parts of a micro-dollar per token, so many to one."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The price of one model per token, where nothing but the number of tokens counts.

    Attributes:
        fresh: of input that no cache held.
        cached: of input that a cache held.
        output: of output without its reasoning.
        reasoning: of the reasoning, which providers report as a part of the output.
    """

    fresh: int
    cached: int
    output: int
    reasoning: int

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in micro-dollars, rounded up; no token is counted twice, however odd the report.

        >>> Rates(fresh=50_000_000, cached=5_000_000, output=400_000_000, reasoning=400_000_000).cost_micro_usd(
        ...     Usage(input_tokens=1000, output_tokens=100, cached_input_tokens=400, reasoning_tokens=90)
        ... )
        72
        """
        fresh, cached, output, reasoning = parts_of(usage)
        return _rounded_up(
            fresh * self.fresh + cached * self.cached + output * self.output + reasoning * self.reasoning
        )

    def worst_case_micro_usd(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that so many tokens can cost, of whatever kind they turn out to be."""
        dearest = max(self.fresh, self.cached), max(self.output, self.reasoning)
        return _rounded_up(input_tokens * dearest[0] + output_tokens * dearest[1])


def parts_of(usage: Usage) -> tuple[int, int, int, int]:
    """Return fresh input, cached input, output without reasoning, and reasoning; they add up to all the tokens.

    A report of fewer than no tokens counts as none, one of a part beyond its whole as the whole.
    """
    inputs, outputs = max(usage.input_tokens, 0), max(usage.output_tokens, 0)
    cached = min(max(usage.cached_input_tokens, 0), inputs)
    reasoning = min(max(usage.reasoning_tokens, 0), outputs)
    return inputs - cached, cached, outputs - reasoning, reasoning


def rate_of(usd_per_million: Decimal) -> int | None:
    """Return dollars per million tokens as a rate, None where that is no whole number of its parts."""
    scaled = usd_per_million * RATE_UNIT
    return None if scaled % 1 else int(scaled)


def _rounded_up(parts: int) -> int:
    return -(-parts // RATE_UNIT)
