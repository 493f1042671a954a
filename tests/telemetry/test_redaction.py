"""No secret passes, nothing else is harmed, and JSON stays JSON."""

import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from agent_pipeline.config.key_guard import BEARER_TOKEN, KEY_MARKERS, KNOWN_KEY, looks_like_known_key
from agent_pipeline.config.marker_search import MarkerSearch
from agent_pipeline.telemetry import REDACTED, Redactor
from agent_pipeline.telemetry.log_line import quoted

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
        ("(ghp_1234567890abcdefghijABCDEFGHIJ123456)", f"({REDACTED})"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_", REDACTED),
        ("at -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----.", f"at {REDACTED}."),
        ("cut off: -----BEGIN EC PRIVATE KEY-----\nMIIE", f"cut off: {REDACTED}"),
        ("Bearer abcdefghijklmnopqrstuvwxyz", f"Bearer {REDACTED}"),
        ("https://user:pass@host/x", f"https://{REDACTED}@host/x"),
        ("see redis://:p%40ss@10.0.0.1:6379/0, please", f"see redis://{REDACTED}@10.0.0.1:6379/0, please"),
        ("https://x/?key=qrstuvwxyz012345&b=1", f"https://x/?key={REDACTED}&b=1"),
        ("client_secret=abc&x=1", f"client_secret={REDACTED}&x=1"),
        ('{"access_token": "abc def"}', f'{{"access_token": "{REDACTED}"}}'),
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
     '"env_key":"OPENAI_API_KEY","base_url":null', "api_key=None", '"api_key": null', "the authorization, then",
     "a bearer of bad news", "bearer certificates", "sk-learning-rate", "hf_transfer_is_not_installed", "1.23 gh/s",
     "https://example.org/@someone?key=page2", "mail me@example.org", "access token: expired", "sk-placeholder",
     "550e8400-e29b-41d4-a716-446655440000", "trace_0123456789abcdef0123456789abcdef", "sha256:" + "9f86d081" * 8],
)  # fmt: skip
def test_what_only_resembles_a_key_stays(text: str) -> None:
    """A log full of holes helps nobody."""
    assert Redactor().text(text) == text


def twice_in_json(text: str) -> str:
    """As in the arguments of a tool call."""
    return json.dumps(json.dumps(text))


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json in json": twice_in_json,
    "json as it is written for people": lambda text: json.dumps(text, ensure_ascii=False),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda text: repr(text.encode("utf-8", "surrogatepass")),
    "percent": lambda text: quote(text, safe="", errors="surrogatepass"),
    "percent, but for slashes": lambda text: quote(text, errors="surrogatepass"),
    "percent, small": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, errors="surrogatepass")),
    "form": lambda text: quote_plus(text, errors="surrogatepass"),
    "the run log's": quoted,
}


@given(known=st.text(st.characters() | st.sampled_from(" \"'\\/+\n\t\x7f\x85\u2028é🙂"), min_size=8, max_size=16))
@example(known="with\"quote'\\")
@example(known="\\\\ab\\ncdefg")
@example(known="xy\U000101d0%25\x80\ud800")
def test_known_secret_is_found_in_every_form_it_is_written(known: str) -> None:
    """A local server's key may look like anything."""
    assume(known not in REDACTED)
    redactor = Redactor([known])

    cleaned = {name: redactor.text(f"<{form(known)}>") for name, form in FORMS.items()}

    assert {name: text.strip("<>b'\"\\") for name, text in cleaned.items()} == dict.fromkeys(FORMS, REDACTED)


@pytest.mark.parametrize("secret", ["hunter22", "a b+c/d=e"])
def test_known_secret_is_found_inside_any_text(secret: str) -> None:
    """Whatever stands before and behind."""
    redactor = Redactor([secret])

    for text in (secret, json.dumps(secret), f"https://host/{secret}", f"x{secret}x"):
        assert redactor.suspects(text)
        assert secret not in redactor.text(text)
        assert REDACTED in redactor.text(text)
    assert redactor.text("k=" + "hunter22".upper()) == "k=HUNTER22"


def test_shorter_known_secret_does_not_cover_a_longer_one() -> None:
    """Otherwise the end of the longer one would stay."""
    assert Redactor(["abcdefgh", "abcdefgh-ijkl"]).text("abcdefgh-ijkl") == REDACTED


def test_empty_and_tiny_secrets_are_ignored() -> None:
    """An unset variable, or a local server's placeholder, must not blank the log."""
    assert Redactor(["", "x", "ollama"]).text("x y ollama") == "x y ollama"


@pytest.mark.parametrize(
    "text", ["sk-" * 50_000, "eyJ-" * 50_000, "a." * 50_000 + "://@", "bearer " * 50_000, "api_key" * 50_000,
             "-----BEGIN PRIVATE KEY " * 20_000, "x://" * 50_000 + "@", "\\" * 100_000 + 'k"ey-12345'],
    ids=["sk", "eyJ", "scheme", "bearer", "api_key", "pem", "address", "backslashes"],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """The texts are models' and documents', and one thread cleans them all."""
    redactor = Redactor(['k"ey-12345', "\\\\" * 8])
    begun = time.process_time()

    redactor.text(text)

    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "start", ["sk-ant-", "sk-9", "sk_live_", "AIza", "ya29.", "gsk_", "hf_", "r8_", "xai-", "nvapi-", "pplx-", "glpat-",
              "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xoxb-", "AKIA", "ASIA", "eyJabcdefuv.eyJ"],
)  # fmt: skip
def test_every_known_form_is_found_by_the_quick_look(start: str) -> None:
    """What it misses is never looked at again."""
    key = start + ("0123456789ABCDEF" if start in {"AKIA", "ASIA"} else "0123456789012345678901")

    assert looks_like_known_key(key)
    assert Redactor().text(f"<{key}>") == f"<{REDACTED}>"


@given(st.lists(st.sampled_from([*KEY_MARKERS, *"skyxghprt_-.AIzaJBKv8é "]), max_size=6).map("".join))
def test_the_quick_look_finds_every_marker_and_nothing_else(text: str) -> None:
    """Capital or small: it is only a look."""
    assert Redactor().suspects(text) is any(marker.lower() in text.lower() for marker in KEY_MARKERS)


@pytest.mark.parametrize(
    "text", ["though it is right", "https://host/a?b=c", "a@b.c", "an answer about tokens and keys"]
)
def test_prose_is_not_suspected(text: str) -> None:
    """A slow look at every answer would cost more than writing it."""
    assert not Redactor(["hunter22"]).suspects(text)


def test_half_a_character_is_suspected_rather_than_trusted() -> None:
    """Models write such; nothing behind it may go unseen."""
    assert Redactor().text(f"\ud83d {LONG_KEY}") == f"\ud83d {REDACTED}"
    assert Redactor(["hunter\ud83d22"]).text("hunter\ud83d22") == REDACTED


@pytest.mark.parametrize("pattern", [KNOWN_KEY, BEARER_TOKEN], ids=["key", "bearer"])
@given(data=st.data())
def test_whatever_a_config_file_refuses_a_log_replaces(pattern: re.Pattern[str], data: st.DataObject) -> None:
    """One list; the quick look before must not miss a form of it."""
    text = data.draw(st.from_regex(pattern))
    redactor = Redactor()

    assert looks_like_known_key(text)
    assert redactor.suspects(text)
    assert REDACTED in redactor.text(text)
    assert not looks_like_known_key(redactor.text(text).replace(REDACTED, "\n"))


def test_value_is_redacted_by_its_name_and_its_text() -> None:
    """A number or a text with no pattern of its own is a key where the name says so."""
    value = {
        "api_key": 12345678, "OPENAI_API_KEY": "plain", "n": 5, "ok": True, "list": [LONG_KEY, None], "x": 471100.25
    }  # fmt: skip

    clean = Redactor(["471100.25"]).value(value)

    assert clean == {
        "api_key": REDACTED, "OPENAI_API_KEY": REDACTED, "n": 5, "ok": True, "list": [REDACTED, None], "x": REDACTED
    }  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(before=json_values, secret=st.text(st.characters(codec="utf-8"), min_size=8, max_size=16), after=json_values)
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


def test_a_word_that_can_not_be_looked_for_is_everywhere() -> None:
    """Half a surrogate pair: the slow look decides, and nothing is missed for the quick one."""
    assert MarkerSearch(["\ud800", "key"]).finds("anything")
    assert MarkerSearch(["key"]).finds("\ud800")
    assert not MarkerSearch([]).finds("key")
