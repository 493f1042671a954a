"""What is packed comes out as pickle would have it, whatever kind of class it is of."""

import pickle
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime
from typing import cast

import pytest
from tests.engines.pretended import record

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import AgentEvent, SdkTraceItem
from agent_pipeline.domain.sdk_span import SdkSpan, SpanLine
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.messages import (
    Attempted,
    DocumentsInFlight,
    Done,
    Ended,
    Fence,
    Finish,
    Happened,
    Resulted,
    Shard,
    ShardDocument,
    Take,
)
from agent_pipeline.engines.on_ray.packing import pack
from agent_pipeline.errors import ConfigError

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
FENCE = Fence(1, 2)
DOCUMENT = Document("1", "text", "a.md", {"deep": {"list": [1, None]}}, {"title": "é\ud800"})
KEY = ResultKey("answer", 1, "0" * 64)


@dataclass(frozen=True, slots=True)
class _Checked:
    """Refuses to be made anew from what it became."""

    word: str
    length: int = field(init=False)

    def __post_init__(self) -> None:
        if self.word.isupper():
            raise ValueError(self.word)
        object.__setattr__(self, "word", self.word.upper())
        object.__setattr__(self, "length", len(self.word))


@dataclass(frozen=True)
class _WithoutSlots:
    word: str


@dataclass(frozen=True)
class _WithoutSlotsOfOneThatHas(_Checked):
    other: str = "x"


@dataclass(slots=True)
class _NotFrozen:
    words: list[str]


@dataclass(frozen=True, slots=True)
class _WithAWayOfItsOwn:
    words: Mapping[str, str]

    def __getstate__(self) -> dict[str, str]:
        return dict(self.words)

    def __setstate__(self, state: dict[str, str]) -> None:
        object.__setattr__(self, "words", {**state, "restored": "yes"})


@dataclass(frozen=True, slots=True)
class _Greeting:
    version: str


@dataclass(frozen=True, slots=True)
class _Withholding:
    words: tuple[str, ...]

    def __getstate__(self) -> list[tuple[str, ...]]:
        return [self.words[:1]]


@pytest.mark.parametrize(
    "value",
    [
        Finish(),
        DocumentsInFlight(3),
        Take(Shard(FENCE, (ShardDocument(SourceEntry(1, "1", None, DOCUMENT), results={KEY: "{}"}),))),
        Attempted(FENCE, record("a1", "1", "answer"), AT, 3),
        Resulted(FENCE, StageResult("1", KEY, "{}", AT, AT)),
        Happened(AgentEvent("agent_start", "1", "answer", agent="writer"), AT),
        Happened(SdkTraceItem('{"object":"trace"}'), AT),
        Ended(FENCE, 1, "1", None, "succeeded", None, None, Counter(a=1), Counter(), document=DOCUMENT),
        Done(ErrorRecord.of(ConfigError("roles.yaml:3: no such role"))),
        _Checked("word"),
        _WithoutSlots("word"),
        _WithoutSlotsOfOneThatHas("word"),
        _NotFrozen(["word"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_packed_comes_out_equal(value: object) -> None:
    """And is of the same class, with all its fields."""
    restored = pickle.loads(pack([value, value]))  # noqa: S301 - packed here

    assert restored == [value, value]
    assert restored[0] is restored[1]
    assert type(restored[0]) is type(value)
    assert repr(restored[0]) == repr(value)


def test_who_has_a_way_of_his_own_keeps_it() -> None:
    """It may leave something out, or find something new."""
    line = SpanLine("{}", SdkSpan("item", "s", None, "1", "answer", 1, None))

    values = (_WithAWayOfItsOwn({"a": "b"}), _Withholding(("a", "b")), SdkTraceItem(line))
    restored, withheld, with_span = pickle.loads(pack(values))  # noqa: S301 - packed here

    assert restored.words == {"a": "b", "restored": "yes"}
    assert withheld.words == ("a",)
    assert with_span.line.span == line.span


def test_what_has_one_field_more_here_is_read_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of another version says so in its first words, which have to be read for that."""
    packed = pack(_Greeting("1"))
    grown = make_dataclass(
        "_Greeting", [("version", str), ("more", str)], namespace={"__module__": __name__}, frozen=True, slots=True
    )
    monkeypatch.setattr(sys.modules[__name__], "_Greeting", grown)

    restored = pickle.loads(packed)  # noqa: S301 - packed here

    assert (type(restored), restored.version) == (grown, "1")


def test_what_can_not_be_packed_says_so() -> None:
    """As pickle does: who sends has to hear of it."""
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)):
        pack(_WithoutSlots(cast("str", lambda: None)))
