"""What one document can need of each stage: how often it passes, how often it asks, and how large a request can be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.price_table import priced_by
from agent_pipeline.config.prices import FindPrice, Price, context_window
from agent_pipeline.config.rates import Rates
from agent_pipeline.config.roles import fallbacks_of, resolve_role
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.stages import BUILT_IN

BYTES_PER_TOKEN = 4
"""Of text that a model reads, on average; what a plan expects where no earlier run says better."""

ANSWER_BYTES_PER_TOKEN = 8
"""Of an answer that is a part of a later request: no text or code that people write comes near it."""

_PROMPT_BYTES = 8_000
"""What stands around the document in a request: the task, the schema of the answer, the names of the fields."""

_FEEDBACK_BYTES = 12_000
"""What a reviewer's answer (2,000 characters) can add to the next request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A role as a stage asks it, or one that stands in for it.

    Attributes:
        cap: most tokens of an answer; None for none.
        around_bytes: in a request, beside the document.
        window: tokens of request and answer together; None where nobody knows.
    """

    role: str
    provider: str
    model: str
    cap: int | None
    price: Price | Rates | None
    around_bytes: int
    window: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """What a document can need of one stage.

    Attributes:
        stage: its name.
        chains: the roles it may ask, each with its fallbacks; one of them for each request. Empty where that is
            not known.
        is_own: whether it is the user's, of which nobody knows beforehand how often it asks.
        passes: at most.
        texts: how often the document stands in a request.
        grown_tokens: of answers that may stand in the document's place by then; None without a bound.
        rewrites: whether an answer is as long as the document.
    """

    stage: str
    chains: tuple[tuple[Asked, ...], ...]
    is_own: bool
    passes: int
    texts: int
    grown_tokens: int | None
    rewrites: bool

    @property
    def is_silent(self) -> bool:
        """Whether the stage declares no role: then it is taken to ask nobody."""
        return not self.chains


def needs_of(stages: Sequence[PlannedStage], config: PipelineConfig) -> list[Need]:
    """Return what each stage can need, in order."""
    find_price = priced_by(config.prices)
    needs: list[Need] = []
    grown: int | None = 0
    for index, planned in enumerate(stages):
        stage = planned.stage
        is_own = BUILT_IN.get(stage.name) is not stage
        chains = tuple(_chain(config, role, find_price) for role in stage.roles)
        later = [one for one in stages[index:] if one.rework_to is not None]
        names = [one.stage.name for one in stages]
        passes = 1 + sum(one.max_reworks for one in later if names.index(one.rework_to or "") <= index)
        rewrites = stage.name == "transform" and not is_own
        own_growth = _most([asked.cap for chain in chains for asked in chain]) if is_own or rewrites else 0
        before = grown
        if passes > 1 and rewrites:  # reworked, it reads what it wrote
            before = _larger(grown, own_growth)
        texts = 2 if stage.name == "review" and not is_own else 1
        needs.append(Need(stage.name, chains, is_own, passes, texts, before, rewrites))
        grown = _larger(grown, own_growth)
    return needs


def _chain(config: PipelineConfig, role: str, find_price: FindPrice) -> tuple[Asked, ...]:
    return tuple(_asked(config, one, find_price) for one in (role, *fallbacks_of(config.runtime, role)))


def _asked(config: PipelineConfig, role: str, find_price: FindPrice) -> Asked:
    call = resolve_role(config.runtime, role)
    known = config.runtime.roles.get(role)
    instructions = None if known is None else known.instructions
    around = json.dumps([instructions, call.model_dump(mode="json")], ensure_ascii=False)
    return Asked(
        role=role,
        provider=call.provider,
        model=call.model,
        cap=call.output_cap,
        price=find_price(call.provider, call.model),
        around_bytes=_PROMPT_BYTES + _FEEDBACK_BYTES + len(around.encode()),
        window=context_window(call.provider, call.model),
    )


def largest_body(need: Need, asked: Asked, body_bytes: int) -> int | None:
    """Return the most bytes a request can have for a document of this size; None without a bound."""
    if need.grown_tokens is None:
        return None
    grown = max(body_bytes, need.grown_tokens * ANSWER_BYTES_PER_TOKEN)
    return asked.around_bytes + grown + (need.texts - 1) * body_bytes


def _most(caps: Sequence[int | None]) -> int | None:
    return None if None in caps else max((cap or 0 for cap in caps), default=0)


def _larger(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
