"""Documents are found, tidied and turned into scripts without losing anything."""

import ast
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_pipeline.simulator.document_text import code_share, find_document, slug_of, summary_of, tidy, title_of
from agent_pipeline.simulator.patterns import example_of
from agent_pipeline.simulator.python_script import to_script
from agent_pipeline.simulator.reading import DEFECT, LASTING_DEFECT, Reading

lines = st.one_of(
    st.sampled_from(
        [
            "",
            "    x = 1",
            "def f():",
            "```python",
            "```",
            "# %%",
            "In [1]: y = 2",
            ">>> z",
            "Prose.",
            "%time",
            "'''",
            "~~~",
        ]
    ),
    st.text(max_size=20),
)
texts = st.lists(lines, max_size=12).map("\n".join)


@given(text=texts)
@example(text="# coding: nonsense\nprose here")
@example(text='{"cells": [{"cell_type": "code", "source": ["x = 1\\n", "y = 2"]}]}')
@settings(max_examples=300, deadline=None)
def test_a_script_always_compiles(text: str) -> None:
    """Whatever the text was, what is written as .py is Python."""
    script = to_script(tidy(text))

    compile(script.encode(), "<script>", "exec", dont_inherit=True)


@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_a_script_keeps_every_word_of_prose(text: str) -> None:
    """Only fences, prompts and language names of fences may go."""
    script = to_script(tidy(text))

    for word in re.findall(r"Prose\.", tidy(text)):
        assert word in script


@given(text=st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_tidying_twice_changes_nothing_more(text: str) -> None:
    """A second pass through the pipeline must not make another artifact."""
    once = tidy(text)

    assert tidy(once) == once
    assert once == "" or once.endswith("\n")


def test_fenced_blocks_keep_their_blank_lines() -> None:
    """Blank lines mean something in code."""
    assert tidy("a\n\n\n\nb\n```\nx\n\n\n\ny\n```\n\n\n") == "a\n\nb\n```\nx\n\n\n\ny\n```\n"


def test_the_document_is_what_stands_between_its_lines() -> None:
    """A document may itself speak of such lines: the block ends at the last closing one."""
    prompt = "Tidy this.\n<document>\nfirst\n</document>\nlast\n</document>\nThank you."

    document, around = find_document(["hello", prompt])

    assert document == "first\n</document>\nlast"
    assert around == "hello\nTidy this.\n\n\nThank you."


def test_the_last_text_with_a_block_has_the_document() -> None:
    """In a conversation the newest version is meant."""
    texts = ["<document>\nold\n</document>", "<document>\nnew\n</document>", "Please go on."]

    assert find_document(texts)[0] == "new"


def test_without_a_block_the_document_is_the_whole_input() -> None:
    """Plain prompts are documents too; a tag inside a line is no block."""
    assert find_document(["one <document> two", "three"])[0] == "one <document> two\n\nthree"


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("# Title\n\nSome prose.\n", False),
        ("", False),
        ("Hello", False),
        ("# Title\n\nText.\n\n```python\nprint(1)\n```\n\nMore text.\n\nAnd more.\n", False),
        ('"""Do it."""\n\nimport os\n\n\ndef f() -> int:\n    return 1\n', True),
        ("# %%\nprose that does not parse\n", True),
        ('{"cells": [{"cell_type": "markdown", "source": "Hi"}]}', True),
        ("```python\nx = 1\ny = 2\n```\nDone.\n", True),
        ("# Plotting\n#\n# all prose became a comment\n", True),
        ("# One\n\n## Two\n", False),
    ],
)
def test_code_is_told_from_prose(text: str, *, is_code: bool) -> None:
    """The route and the extension hang on it."""
    assert (code_share(text) > 0.5) is is_code


def test_a_made_script_reads_as_code() -> None:
    """The naming stage sees the script, not the notebook, and must still say py."""
    script = to_script("# %% [markdown]\nAll of this is prose that does not parse\nas Python at all.\n")

    assert ast.parse(script).body == []
    assert code_share(script) == 1.0


def test_the_mark_of_a_cell_is_no_title() -> None:
    """Every notebook begins with one, and they would all be called alike."""
    assert title_of("# %% [markdown]\n# Weather of a week\n\n# %%\nprint(1)\n") == "Weather of a week"


def test_titles_and_slugs() -> None:
    """Slugs are ASCII, whatever the title is."""
    assert title_of("intro\n\n## The *Über* guide ##\n") == "The Über guide"
    assert slug_of("The Über guide", "") == "the-uber-guide"
    assert re.fullmatch(r"document-[0-9a-f]{8}", slug_of("海面", "海面上昇"))
    assert title_of('"""Read files."""\n\n# A comment\n') == "Read files."
    assert title_of('"""\nRead files.\n"""\n\n# A comment\n') == "Read files."
    assert title_of("import os\nfrom a import b\n\nx = 1\n") == "x = 1"


def test_a_summary_is_the_first_sentences_without_markup() -> None:
    """Headings and code are no sentences."""
    text = "# Head\n\n```\ncode\n```\n\nOne **bold** [link](http://x.org). Two!\nThree? Four.\n"

    assert summary_of(text) == "One bold link. Two!"


@pytest.mark.parametrize(
    "pattern",
    [
        r"^a{3}b?[^c]$",
        r"^(?:x|y)+\d{2,}$",
        r"\bword\b",
        r"^[\w.-]+@[\w.-]+$",
        r"^\x41\u0042\.$",
        r"^[^a-z]{4}$",
        r"^$",
        "a|b",
    ],
)
def test_an_example_matches_its_pattern(pattern: str) -> None:
    """The writer is checked by the engine that will check the answer."""
    text = example_of(pattern)

    assert text is not None
    assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "[", "(?i)a", "a{99999}"])
def test_a_pattern_beyond_the_subset_has_no_example(pattern: str) -> None:
    """Nothing is made up that does not match."""
    assert example_of(pattern) is None


def test_a_text_that_only_speaks_of_the_mark_has_no_defect() -> None:
    """The project's own documents explain it, and are documents of the smoke run."""
    spoken_of = Reading(f"A line with `{DEFECT}` is refused; see also `{LASTING_DEFECT}`.", "")
    marked = Reading(f"# {DEFECT}", "")

    assert (spoken_of.has_defect, marked.has_defect) == (False, True)
