"""No secret passes, nothing else is harmed, and JSON stays JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.telemetry.redaction import REDACTED, Redactor

LONG_KEY = "sk-proj-Abc_123-def456"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key {LONG_KEY}.", f"key {REDACTED}."),
        (f'{{"a": "line\\n{LONG_KEY}"}}', f'{{"a": "line\\n{REDACTED}"}}'),
        ("Incorrect API key provided: sk-abc***wxyz", f"Incorrect API key provided: {REDACTED}"),
        ("Bearer abc.def-123", f"Bearer {REDACTED}"),
        ("Authorization: Basic dXNlcjpwdw==, next", f"Authorization: {REDACTED}, next"),
        ("authorization: rawtoken", f"authorization: {REDACTED}"),
        ("authorization: basicauth", f"authorization: {REDACTED}"),
        ("(b'Authorization', b'Bearer abcdef')", f"(b'Authorization', b'{REDACTED}')"),
        ('{\\"Authorization\\": \\"Bearer abcdef\\"}', f'{{\\"Authorization\\": \\"{REDACTED}\\"}}'),
        ("https://x/?api_key=abc123&b=1", f"https://x/?api_key={REDACTED}&b=1"),
        ("api_key=bcd&c", f"api_key={REDACTED}&c"),
        ("api_key=b'bcd'", f"api_key=b'{REDACTED}'"),
        ("x-api-key: abc123", f"x-api-key: {REDACTED}"),
        ("{'api_key': 'two words', 'b': 1}", f"{{'api_key': '{REDACTED}', 'b': 1}}"),
        ("AIza" + "b" * 35, REDACTED),
        ("gsk_" + "c" * 40, REDACTED),
    ],
)
def test_what_looks_like_a_key_is_replaced(text: str, clean: str) -> None:
    """Providers echo keys in error messages, libraries print headers."""
    redactor = Redactor()

    assert redactor.text(text) == clean
    assert redactor.text(clean) == clean


@pytest.mark.parametrize(
    "text",
    ["task-force-alpha-one", "disk-usage-report", "OPENAI_API_KEY", "reason=no_api_key provider=openai",
     '"env_key":"OPENAI_API_KEY","base_url":null', "api_key=None", '"api_key": null', "the authorization, then"],
)  # fmt: skip
def test_what_only_resembles_a_key_stays(text: str) -> None:
    """A log full of holes helps nobody."""
    assert Redactor().text(text) == text


@pytest.mark.parametrize("secret", ["hunter22", 'with"quote\\', "zürich-key", "a b+c/d="])
def test_known_secret_is_found_in_every_form_it_is_written(secret: str) -> None:
    """A local server's key may look like anything."""
    redactor = Redactor([secret])

    for text in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), f"https://host/{secret}"):
        assert redactor.suspects(text)
        assert secret not in redactor.text(text)
        assert REDACTED in redactor.text(text)
    assert redactor.text("k=" + "hunter22".upper()) == "k=HUNTER22"


def test_shorter_known_secret_does_not_cover_a_longer_one() -> None:
    """Otherwise the end of the longer one would stay."""
    assert Redactor(["abcd", "abcd-efgh"]).text("abcd-efgh") == REDACTED


def test_empty_and_tiny_secrets_are_ignored() -> None:
    """An unset variable must not blank the log."""
    assert Redactor(["", "x"]).text("x y") == "x y"


def test_value_is_redacted_by_its_name_and_its_text() -> None:
    """A number or a text with no pattern of its own is a key where the name says so."""
    value = {"api_key": 12345678, "OPENAI_API_KEY": "plain", "n": 5, "ok": True, "list": [LONG_KEY, None], "x": 4711.5}

    clean = Redactor(["4711.5"]).value(value)

    assert clean == {
        "api_key": REDACTED, "OPENAI_API_KEY": REDACTED, "n": 5, "ok": True, "list": [REDACTED, None], "x": REDACTED
    }  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(before=json_values, secret=st.text(st.characters(codec="utf-8"), min_size=4, max_size=12), after=json_values)
def test_no_json_value_keeps_the_secret(before: object, secret: str, after: object) -> None:
    """The walk reaches every text."""
    value = [before, {"key": f"<{secret}>", f"k{secret}": [secret]}, after]

    clean = Redactor([secret]).value(value)

    assert all(secret not in text for text in _texts(clean) if REDACTED not in text)
    assert secret in REDACTED or all(secret not in text.replace(REDACTED, "\0") for text in _texts(clean))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
