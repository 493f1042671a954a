"""What is printed is safe for terminals and quiet on broken pipes."""

import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.cli.output import Channel, one_line, paragraphs

HOSTILE = st.text(st.characters() | st.sampled_from("\x1b\x9b\x07[]m;\\0\n\r\t\u202e\u2028\x7f"), max_size=60)


@given(text=HOSTILE)
def test_foreign_text_is_one_line_of_printable_characters(text: str) -> None:
    """Model output may hold sequences that rewrite the screen or set the clipboard."""
    shown = one_line(text, most=40)

    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown) <= 40


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("a\x1b]52;c;aGk=\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x1bcb", "ab"),
        ("\x9b2Jx", "x"),
        ("line\r\nnext\tcolumn", "line next column"),
        ("grüße 日本", "grüße 日本"),
    ],
)
def test_escape_sequences_go_as_a_whole(text: str, shown: str) -> None:
    """Half a sequence would leave its letters in the text."""
    assert one_line(text) == shown


def test_paragraphs_keep_lines_and_columns() -> None:
    """The summary is aligned; what it quotes still can't move the cursor."""
    assert paragraphs("name:   x\n  \x1b[2Jy") == "name:   x\n  y"


def test_a_reader_that_has_gone_is_no_error() -> None:
    """`| head` ends the reading, not the run."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        channel = Channel(stream)

        channel.line("x" * 100_000)
        channel.line("more")


def test_text_the_stream_can_not_encode_is_escaped() -> None:
    """A terminal with an old locale must not end a run."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as stream:
        Channel(stream).line("grüße")

    with os.fdopen(reading, encoding="ascii") as stream:
        assert stream.read() == "gr\\xfc\\xdfe\n"


def test_a_command_is_quiet_when_its_reader_has_gone() -> None:
    """Neither a traceback nor the interpreter's own complaint at its end."""
    reading, writing = os.pipe()
    os.close(reading)

    run = subprocess.run(
        [sys.executable, "-m", "agent_pipeline", "--version"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert run.stderr == ""
    assert run.returncode == 0
