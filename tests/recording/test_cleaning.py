"""Secrets leave a body, and nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.gateway.recording.cleaning import RecordedSecrets, cleaned

KNOWN = "correct-horse-battery"
FORM = "sk-proj-0123456789abcdefghij"
SECRETS = RecordedSecrets([KNOWN])
SSE = "text/event-stream; charset=utf-8"


def _chat(*bits: str) -> str:
    chunks = [{"choices": [{"index": 0, "delta": {"content": bit}}]} for bit in bits]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def _said(stream: str) -> str:
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)


@pytest.mark.parametrize("secret", [KNOWN, FORM])
def test_a_secret_in_json_goes_and_the_rest_stays_json(secret: str) -> None:
    """Also where it is a key without end: the text after it belongs to others."""
    body = json.dumps({"text": f"it is {secret}.", "more": ["-----BEGIN PRIVATE KEY-----", 1.50]})

    clean = cleaned(body, "application/json", SECRETS)

    assert json.loads(clean) == {"text": "it is [redacted].", "more": ["[redacted]", 1.5]}


def test_a_token_that_only_the_word_before_it_gives_away_goes() -> None:
    """It has no form of its own, and nobody here knows it."""
    assert RecordedSecrets().text("Authorization: BEARER abcdef0123456789") == "Authorization: BEARER [redacted]"


@pytest.mark.parametrize("secret", [KNOWN, FORM])
@pytest.mark.parametrize("cut", [1, 4, 12])
def test_a_secret_told_in_bits_is_found(secret: str, cut: int) -> None:
    """Models tell a key token by token; whoever joins the bits would have it."""
    clean = cleaned(_chat("it is ", secret[:cut], secret[cut:], "."), SSE, SECRETS)

    assert _said(clean) == "it is [redacted]."
    assert clean.endswith("data: [DONE]\n\n")


def test_a_secret_in_the_arguments_of_one_of_two_calls_is_found() -> None:
    """Bits of two calls come in turns, told apart by their index alone."""
    bits = [(0, '{"a": "'), (1, '{"b": "fine'), (0, KNOWN[:5]), (1, '"}'), (0, KNOWN[5:] + '"}')]
    body = "".join(
        f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [{'index': index, 'function': {'arguments': bit}}]}}]})}\n\n"  # noqa: E501
        for index, bit in bits
    )

    events = [json.loads(line[6:]) for line in cleaned(body, SSE, SECRETS).splitlines() if line]

    told = {0: "", 1: ""}
    for event in events:
        call = event["choices"][0]["delta"]["tool_calls"][0]
        told[call["index"]] += call["function"]["arguments"]
    assert told == {0: '{"a": "[redacted]"}', 1: '{"b": "fine"}'}


def test_texts_of_two_items_are_not_joined() -> None:
    """What is no secret in either stays, though it would be one where they meet."""
    kind = "response.output_text.delta"
    bits = [("m1", KNOWN[:5]), ("m2", KNOWN[5:])]
    body = "".join(f"data: {json.dumps({'type': kind, 'item_id': item, 'delta': bit})}\n\n" for item, bit in bits)

    assert cleaned(body, SSE, SECRETS) == body


def test_events_of_the_responses_api_are_cleaned_in_bits_and_whole() -> None:
    """The last event repeats the whole text."""
    kind = "response.output_text.delta"
    events = [
        {"type": kind, "item_id": "m", "delta": f"x {KNOWN[:7]}"},
        {"type": kind, "item_id": "m", "delta": KNOWN[7:]},
        {"type": "response.output_text.done", "item_id": "m", "text": f"x {KNOWN}"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)

    clean = [json.loads(line[6:]) for line in cleaned(body, SSE, SECRETS).splitlines() if line.startswith("data")]

    assert [event.get("delta", event.get("text")) for event in clean] == ["x [redacted]", "", "x [redacted]"]


@pytest.mark.parametrize(
    "body",
    [
        '{"a" :  1.0, "a": 2, "b": "\\u00e9"}',
        "export OPENAI_API_KEY=... and api_key: str",
        "half a {",
        "",
        "\ud800 half a pair",
    ],
)
def test_a_body_without_secrets_is_not_touched(body: str) -> None:
    """Not even its spaces: a replay gives it byte for byte."""
    assert cleaned(body, "application/json", SECRETS) == body


@given(bits=st.lists(st.text(max_size=5), max_size=6))
def test_a_stream_without_secrets_is_not_touched(bits: list[str]) -> None:
    """Whatever characters its texts hold, also those that some take for the end of a line."""
    body = "".join(
        f"data: {json.dumps({'choices': [{'delta': {'content': bit}}]}, ensure_ascii=False)}\r\n\r\n" for bit in bits
    )

    assert cleaned(body, SSE, SECRETS) == body


@given(text=st.text())
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    """The request after a cleaned answer holds the cleaned text: cleaned again, it is the request that was recorded."""
    once = SECRETS.text(f"{text} {KNOWN} {FORM} Bearer {FORM}")

    assert KNOWN not in once
    assert FORM not in once
    assert SECRETS.text(once) == once
