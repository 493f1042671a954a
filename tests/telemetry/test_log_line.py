"""The run log's lines can be parsed back, whatever the values hold."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.telemetry.log_line import format_line, parse_line, text_of, word

AT = datetime(2026, 11, 20, 10, 0, 0, 123000, tzinfo=UTC)

words = st.text(min_size=1, max_size=12).map(word)
anything = st.text(st.characters(), max_size=40) | st.text(' "=\\\n\r\t\x85\u2028né,{}\x1b\ud800', max_size=20)
values = (
    anything
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.lists(st.text(st.characters(codec="utf-8")), max_size=3)
)


@given(event=st.lists(words, min_size=1, max_size=3), fields=st.dictionaries(words, values, max_size=6))
def test_line_is_read_back_as_it_was_written(event: list[str], fields: dict[str, object]) -> None:
    """Whatever is logged can be looked up, byte by byte."""
    line = format_line(AT, "INFO", " ".join(event), fields.items())

    parsed = parse_line(line)

    assert (parsed.at, parsed.level, parsed.event) == (AT, "INFO", " ".join(event))
    assert parsed.fields == {key: text_of(value) for key, value in fields.items() if value is not None}


@given(text=anything)
def test_line_is_one_line_for_every_reader(text: str) -> None:
    """`str.splitlines` splits at more than a newline, and so do some log viewers."""
    line = format_line(AT, "INFO", word(text), [("key", text)])

    assert line.splitlines() == [line]


@given(fields=st.dictionaries(words, anything, min_size=1, max_size=4), data=st.data())
def test_line_torn_inside_quotes_is_refused(fields: dict[str, str], data: st.DataObject) -> None:
    """A torn last line must not be read as another, shorter truth where that can be seen."""
    line = format_line(AT, "INFO", "EVENT", [*fields.items(), ("last~", "a b")])
    cut = data.draw(st.integers(1, 3))

    with pytest.raises(ValueError, match="unreadable"):
        parse_line(line[:-cut])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ("a\nb", '"a\\nb"'),
        ("a\\nb", '"a\\\\nb"'),
        ("Zürich", "Zürich"),
        ("\x1b[31m", '"\\u001b[31m"'),
        (True, "true"),
        (3, "3"),
        (0.1 + 0.2, "0.3"),
        (["route", "name"], '"[\\"route\\",\\"name\\"]"'),
    ],
)
def test_value_is_quoted_only_where_it_must_be(value: object, shown: str) -> None:
    """People read the file too."""
    line = format_line(AT, "INFO", "EVENT", [("key", value)])

    assert line == f"2026-11-20T10:00:00.123Z INFO EVENT key={shown}"


def test_none_is_left_out_and_differs_from_the_empty_text() -> None:
    """Unknown and empty are two things."""
    line = format_line(AT, "INFO", "EVENT", [("a", None), ("b", "")])

    assert parse_line(line).fields == {"b": ""}


def test_event_may_be_several_words() -> None:
    """`OPENAI_CLIENT skip` is in the contract."""
    parsed = parse_line("2026-11-20T10:00:00.123Z WARNING OPENAI_CLIENT skip reason=no_api_key\n")

    assert (parsed.event, parsed.fields) == ("OPENAI_CLIENT skip", {"reason": "no_api_key"})


@pytest.mark.parametrize(
    "line",
    ["", "2026", "nonsense", "2026-11-20T10:00:00.123Z INFO", "2026-11-20T10:00:00.123Z INFO E a=1 b", "x INFO E",
     "2026-11-20T10:00:00.123Z INFO E a=1 a=2", '2026-11-20T10:00:00.123Z INFO E a="x"y', "yesterdayZ INFO E",
     "2026-11-20T10:00:00.123Z INFO a=1"],
)  # fmt: skip
def test_what_is_no_line_is_refused(line: str) -> None:
    """A reader can tell a line from a torn one."""
    with pytest.raises(ValueError, match=r"line|unreadable|event|isoformat"):
        parse_line(line)


def test_list_is_shown_as_json() -> None:
    """Values of stages may be nested."""
    line = format_line(AT, "INFO", "EVENT", [("key", {"a": ["x y", None]})])

    assert json.loads(parse_line(line).fields["key"]) == {"a": ["x y", None]}
