"""Embeddings: unit vectors that depend on the text alone, in both encodings, as the real client reads them."""

import base64
import json
import math
import struct
from collections.abc import Sequence

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from tests.simulator.asking import post
from tests.simulator.clients import Start, openai_of

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator
from agent_pipeline.simulator.embeddings_api import unit_vector

PATH = "/v1/embeddings"


def embed(given: JsonValue, **more: JsonValue) -> CreateEmbeddingResponse:
    reply = post(PATH, {"model": "small", "input": given, "encoding_format": "float", **more})
    assert reply.status == 200, reply.body
    return CreateEmbeddingResponse.model_validate_json(reply.body)


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))


@given(text=st.text(max_size=200), dimensions=st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_every_vector_has_length_one(text: str, dimensions: int) -> None:
    """Whatever the text holds, also words that cancel out each other."""
    vector = struct.unpack(f"<{dimensions}f", unit_vector(text, dimensions))

    assert math.isclose(likeness(vector, vector), 1, rel_tol=1e-5)


def test_words_that_cancel_out_each_other_leave_a_direction() -> None:
    """There is no vector of length one in the direction of nothing."""
    vectors = {unit_vector(f"a{number} b{number}", 1) for number in range(100)}

    assert vectors == {struct.pack("<f", 1), struct.pack("<f", -1)}


def test_the_same_text_has_the_same_vector_whatever_comes_beside_it() -> None:
    """A resumed run must find what it found before."""
    alone = embed("The moon pulls the sea.").data[0].embedding

    beside = embed(["Something else.", "The moon pulls the sea."], user="me")

    assert [one.index for one in beside.data] == [0, 1]
    assert beside.data[1].embedding == alone
    assert beside.data[0].embedding != alone
    assert len(alone) == 1536


def test_like_texts_have_like_vectors() -> None:
    """Searching them finds something."""
    near, far = "The moon pulls the sea, and tides follow.", "Invoices are due within thirty days."
    asked, one, other = (item.embedding for item in embed(["Why does the sea follow the moon?", near, far]).data)

    assert likeness(asked, one) > 0.4 > likeness(asked, other)


@pytest.mark.parametrize("dimensions", [1, 8, 4096])
def test_vectors_are_as_long_as_is_asked(dimensions: int) -> None:
    """The figure a vector store was set up with."""
    assert len(embed("text", dimensions=dimensions).data[0].embedding) == dimensions


def test_both_encodings_hold_the_same_numbers() -> None:
    """32-bit floats, to the last bit."""
    plain = embed("text", dimensions=16).data[0].embedding

    packed = json.loads(
        post(PATH, {"model": "m", "input": "text", "encoding_format": "base64", "dimensions": 16}).body
    )["data"][0]["embedding"]

    assert [*struct.unpack("<16f", base64.b64decode(packed))] == plain


@pytest.mark.parametrize(
    ("given", "tokens", "vectors"),
    [
        ("12345678", 2, 1),
        (["1234", "5678", "9"], 3, 3),
        ([17, 4, 99], 3, 1),
        ([[17, 4], [99]], 3, 2),
    ],
)
def test_usage_is_that_of_the_input(given: JsonValue, tokens: int, vectors: int) -> None:
    """Texts by their bytes; what is sent as numbers of tokens, by how many there are."""
    simulator = Simulator()

    body = json.loads(post(PATH, {"model": "m", "input": given}, simulator).body)

    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert len(body["data"]) == vectors
    assert body["model"] == "m-simulator"
    assert (simulator.statistics.input_tokens, simulator.statistics.output_tokens) == (tokens, 0)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [1, -1]}, "input"),
        ({"input": [1, True]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"model": None}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 4097}, "dimensions"),
        ({"dimensions": 8.0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
    ],
)
def test_what_the_api_refuses_is_refused(more: dict[str, JsonValue], param: str) -> None:
    """By the parameter that is wrong."""
    reply = post(PATH, {"model": "small", "input": "text", **more})

    assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, param)


def test_faults_strike_by_what_is_embedded() -> None:
    """As with any other request to a model."""
    plan = FaultPlan.from_mapping({"faults": [{"kind": "status", "status": 500, "match": {"contains": "moon"}}]})
    simulator = Simulator(faults=plan)

    statuses = [post(PATH, {"model": "m", "input": [text]}, simulator).status for text in ("the moon", "the sun")]

    assert statuses == [500, 200]


async def test_the_openai_client_reads_both_encodings(start: Start) -> None:
    """It asks for base64 unless told otherwise, and unpacks it."""
    simulator, port = await start({"kind": "rate_limit", "requests_per_minute": 2})

    async with openai_of(port) as client:
        by_default = await client.embeddings.create(model="m", input=["one", "two"], dimensions=32)
        as_numbers = await client.embeddings.create(
            model="m", input=["one", "two"], dimensions=32, encoding_format="float"
        )
        with pytest.raises(openai.RateLimitError):
            await client.embeddings.create(model="m", input="three")

    assert [one.embedding for one in by_default.data] == [one.embedding for one in as_numbers.data]
    assert by_default.usage.total_tokens == 2
    assert simulator.statistics.ends == {(PATH, "200"): 2, (PATH, "429"): 1}
