"""A thousand items, a tenth of the calls faulty: one result each, in order, and totals that add up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tests.batch.flavours import QUICK, TOKENS, Flavour, Item, StatusError, both, item, nap, run

from agent_pipeline.batch import BatchResult, ParallelBatchProcessor

ITEMS = 1000
FAILED = {"input_tokens": 1, "output_tokens": 1}


def kind_of(number: int) -> str:
    """Return what is wrong with an item: one in ten has a fault, and one of these is a 429."""
    if number % 10 != 3:
        return "good"
    return "limited" if number == 123 else ("shaky", "rejected", "broken")[number // 10 % 3]


class FaultyProvider:
    """Every tenth item has its own fault, always the same, so that the end of each is known beforehand."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()

    def item(self, number: int) -> Item:
        async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
            self.requests[number] += 1
            await nap(0)
            self.fail(number, attempt)
            return f"answer {number}", TOKENS

        return item(f"item-{number}", call, context=number)

    def fail(self, number: int, attempt: int) -> None:
        match kind_of(number):
            case "limited" if self.requests[number] == 1:
                raise StatusError(429, {"retry-after": "0.01"})
            case "shaky" if attempt == 1:
                raise StatusError(500, usage=FAILED)
            case "rejected":
                raise StatusError(400, usage=FAILED)
            case "broken":
                raise LookupError(number)


@both
def test_a_thousand_items_with_a_tenth_of_faults(flavour: Flavour) -> None:
    provider = FaultyProvider()

    async def scenario() -> BatchResult[str, object]:
        processor = ParallelBatchProcessor[None, str, object](replace(QUICK, max_workers=50, max_queue_size=100))
        return await processor.process_all(provider.item(number) for number in range(ITEMS))

    result = run(flavour, scenario)

    kinds = [kind_of(number) for number in range(ITEMS)]
    count = Counter(kinds)
    assert (count["good"], count["limited"]) == (900, 1)
    assert [one.item_id for one in result.results] == [f"item-{n}" for n in range(ITEMS)]
    assert [one.context for one in result.results] == list(range(ITEMS))
    for number, one in enumerate(result.results):
        assert one.success == (kinds[number] not in {"rejected", "broken"})
        assert one.output == (f"answer {number}" if one.success else None)
        assert provider.requests[number] == (2 if kinds[number] in {"limited", "shaky"} else 1)
    failed = count["rejected"] + count["broken"]
    assert (result.total_items, result.succeeded, result.failed) == (1000, 1000 - failed, failed)
    assert result.errors == {"request_rejected": count["rejected"], "call_failed": count["broken"]}
    used = count["shaky"] + count["rejected"]  # by failures that told what they used
    assert (result.total_input_tokens, result.total_output_tokens) == (
        3 * result.succeeded + used,
        2 * result.succeeded + used,
    )
    assert result.termination == "completed"
