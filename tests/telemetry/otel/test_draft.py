"""What leaves: no secrets, no text without an end, nothing that could not be encoded."""

import pytest

from agent_pipeline.telemetry import REDACTED, Redactor
from agent_pipeline.telemetry.otel.draft import LONGEST_TEXT, AttributeValue, Draft, cleaned

SECRET = "hunter22-and-more"  # noqa: S105 - made up


def span(error: str | None = None, name: str = "n", **attributes: AttributeValue) -> Draft:
    """Return a span with these."""
    return Draft(
        name=name,
        trace_id=1,
        span_id=1,
        parent_id=None,
        start=0,
        end=1,
        attributes=attributes,
        failed=True,
        error=error,
    )


def test_secrets_are_in_no_part_of_a_span() -> None:
    """Names of models and tools, values, lists, and the error."""
    draft, _ = cleaned(
        span(f"no {SECRET}", f"call {SECRET}", text=f'{{"a": "{SECRET}"}}', many=["x", SECRET], **{SECRET: 1}),
        Redactor([SECRET]),
    )

    assert SECRET not in repr(draft)
    assert draft.attributes == {"text": f'{{"a": "{REDACTED}"}}', "many": ["x", REDACTED], REDACTED: 1}


def test_half_a_character_is_mended() -> None:
    """Models do write it, and one such text would cost the whole batch."""
    draft, _ = cleaned(span(text="a\ud83db"), Redactor())

    assert draft.attributes == {"text": "a?b"}


def test_a_long_text_is_cut_and_no_half_of_a_secret_stays() -> None:
    text = "x" * (LONGEST_TEXT - 5) + SECRET + "y" * 3 * LONGEST_TEXT
    draft, size = cleaned(span(text=text), Redactor([SECRET]))

    shown = draft.attributes["text"]
    assert isinstance(shown, str)
    assert len(shown) == LONGEST_TEXT
    assert "hunte" not in shown
    assert LONGEST_TEXT < size < LONGEST_TEXT + 1000


@pytest.mark.parametrize(("value", "sent"), [(2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (True, True), (0.5, 0.5)])
def test_numbers_stay_numbers_as_far_as_the_protocol_goes(value: AttributeValue, sent: AttributeValue) -> None:
    draft, _ = cleaned(span(n=value), Redactor())

    assert draft.attributes == {"n": sent}
    assert type(draft.attributes["n"]) is type(sent)
