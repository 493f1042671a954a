"""What answers say about limits: read where it makes sense, else unsaid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.control.allowance import Allowance, RateHeaders
from agent_pipeline.gateway.rate_headers import read_duration, read_rate_headers


def test_both_limits_are_read() -> None:
    """The names are OpenAI's; many others use them too."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-limit-images": "5",
    }

    assert read_rate_headers(headers) == RateHeaders(Allowance(60, 59, 1.0), Allowance(150_000, 0, 360.0))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1m30.5s", 90.5),
        ("20ms", 0.02),
        ("1h2m3s", 3_723.0),
        ("1d", 86_400.0),
        ("12", 12.0),
        ("0.5", 0.5),
        ("0s", 0.0),
        ("25h", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("-1s", None),
        ("", None),
        ("1s!", None),
        ("soon", None),
        ("1 s", None),
        ("٣s", None),
        ("2026-11-20T10:00:00Z", None),
    ],
)
def test_a_reset_is_read_as_seconds(text: str, seconds: float | None) -> None:
    """A date would need the other side's clock; `retry-after` is there for that."""
    assert read_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("text", ["-1", "1.5", "", "many", "9" * 13, "9" * 5_000, "٣", " 1"])
def test_a_count_that_is_none_is_unsaid(text: str) -> None:
    """A limit of nonsense must not slow anything down."""
    assert read_rate_headers({"x-ratelimit-limit-requests": text, "x-ratelimit-remaining-tokens": text}) is None


def test_a_limit_of_zero_is_unsaid() -> None:
    """Nobody could ever send; whoever means that answers with an error."""
    assert read_rate_headers({"x-ratelimit-limit-requests": "0"}) is None


@given(st.dictionaries(st.sampled_from(["limit", "remaining", "reset"]), st.text(max_size=20)))
def test_whatever_a_provider_says_is_read_or_ignored(values: dict[str, str]) -> None:
    """It never fails an answer that is good otherwise."""
    read = read_rate_headers({f"x-ratelimit-{name}-tokens": text for name, text in values.items()})

    assert read is None or read.tokens.reset is None or 0 <= read.tokens.reset <= 86_400
