"""What no committed file may say."""

import re
from pathlib import Path

import pytest
from tests.house.tracked import ROOT, relative, tracked

SELF = Path(__file__).resolve()  # the one file that has to name what it forbids

TEXT_RULES = {
    "an address of a package index": r"pythonhosted\.org|(?:extra-)?index[-_]url|https?://[^\s\"']+/simple\b",
    "an absolute path of some machine": r"(?<![\w.:/~}$-])/(?:work|root|tmp|home/[a-z]\w*|Users/[A-Za-z]\w*)/\w",
    "unfinished work": r"\b(?:TODO|FIXME)\b",
}
PYTHON_RULES = TEXT_RULES | {
    "a mock in the place of a fake": r"unittest\.mock|from unittest import mock|MagicMock",
    "an error swallowed whole": r"except(?: \(?(?:Base)?Exception[^:\n]*)?:\s*(?:#[^\n]*\n\s*)*(?:pass|\.\.\.)\s*$",
    "a gate silenced": r"noqa:[^\n]*\b(?:C901|PLR0912|PLR0915)\b",
}


def breaches(text: str, rules: dict[str, str]) -> list[str]:
    """Return what a text says that it must not: `line: rule: words`."""
    return [
        f"{text.count(chr(10), 0, match.start()) + 1}: {rule}: {match.group().strip()[:60]!r}"
        for rule, pattern in rules.items()
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


def test_no_committed_file_breaks_a_text_rule() -> None:
    """Addresses and paths of one machine do not work on another; the rest is how rot starts."""
    found = []
    for path in tracked():
        if path != SELF:
            text = path.read_bytes().decode("utf-8", errors="replace")
            rules = PYTHON_RULES if path.suffix == ".py" else TEXT_RULES
            found += [f"{relative(path)}:{breach}" for breach in breaches(text, rules)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "--index-url x",
        "https://mirror.example/simple",
        "see /work/x",
        "'/tmp/x'",
        "x  # TODO: y",
        "from unittest import mock",
        "try:\n    x()\nexcept Exception:\n    # why\n    pass\n",
        "except (Exception, ValueError) as error:\n    ...\n",
        "except:\n    pass\n",
        "def f():  # noqa: C901\n",
    ],
)
def test_each_rule_finds_what_it_is_for(text: str) -> None:
    """A pattern that matches nothing forbids nothing."""
    assert breaches(text, PYTHON_RULES)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/work/x",
        "src/work/x",
        "except OSError:\n    pass\n",
        "except Exception:\n    pass_on()\n",
        "a temp/file",
        "TODOS",
    ],
)
def test_rules_leave_innocent_text_alone(text: str) -> None:
    """A rule that cries wolf gets switched off."""
    assert not breaches(text, PYTHON_RULES)


def test_folders_for_output_hold_nothing_but_their_gitignore() -> None:
    """What a run leaves behind is nobody's source."""
    held = {relative(path) for path in tracked("artifacts", "logs")}

    assert held == {"artifacts/.gitignore", "logs/.gitignore"}
    assert all("!.gitignore" in (ROOT / name).read_text(encoding="utf-8") for name in held)
