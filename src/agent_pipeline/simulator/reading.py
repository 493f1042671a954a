"""What a document says, read at need: the values that fields of a structured answer are filled from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.conversation import ToolOutput
from agent_pipeline.simulator.document_text import (
    code_share,
    cut_at_word,
    sentences_of,
    slug_of,
    summary_of,
    tidy,
    title_of,
)
from agent_pipeline.simulator.json_values import as_number, as_object, loads
from agent_pipeline.simulator.python_script import to_script

DEFECT: Final = "simulator:defect"
"""A line that begins so, maybe as a comment, makes reviews disapprove; rewriting with feedback takes such lines out."""

LASTING_DEFECT: Final = "simulator:defect-always"
"""A line that begins so makes reviews disapprove, and no rewriting takes it out."""

_DEFECT_LINE: Final = re.compile(rf"^[ \t#>*<!-]*{DEFECT}(?P<lasting>-always)?.*\n?", re.MULTILINE)

_CODE_WORDS: Final = {"code", "ipynb", "notebook", "program", "py", "python", "script"}
_PROSE_WORDS: Final = {"article", "markdown", "md", "prose", "rst", "text", "txt"}
_GOOD_WORDS: Final = {"accept", "accepted", "approve", "approved", "good", "ok", "pass", "passed", "valid", "yes"}
_BAD_WORDS: Final = {"bad", "fail", "failed", "invalid", "no", "reject", "rejected", "rework", "revise"}
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,15})?(?![\w.]*\w)")


def words_of(name: str) -> list[str]:
    """Split a field's name or a value into lower-case words.

    >>> words_of("finalMarkdown_text")
    ['final', 'markdown', 'text']
    """
    return re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


@dataclass
class Reading:
    """A document and what was said around it.

    Attributes:
        source: the document as it came.
        around: the rest of what the user said.
        tool_outputs: what tools returned.
    """

    source: str
    around: str
    tool_outputs: tuple[ToolOutput, ...] = ()

    @cached_property
    def code_share(self) -> float:
        """How much of the document is Python, 0.0 to 1.0."""
        return code_share(self.source)

    @property
    def is_code(self) -> bool:
        """Whether the document is a script or a notebook."""
        return self.code_share > 0.5

    @cached_property
    def tidied(self) -> str:
        """The whole document, tidied; without the lines that feedback was given for."""
        text = tidy(self.source, blank_lines=2 if self.is_code else 1)
        if "feedback" in self.around.lower():
            text = _DEFECT_LINE.sub(lambda line: line[0] if line["lasting"] else "", text)
        return text

    @cached_property
    def script(self) -> str:
        """The whole document as Python that compiles."""
        return to_script(self.tidied)

    @cached_property
    def _head(self) -> str:
        return tidy(self.source[:20_000])

    @cached_property
    def title(self) -> str:
        """The document's title."""
        return title_of(self._head) or "Untitled"

    @cached_property
    def summary(self) -> str:
        """Its first sentences."""
        return summary_of(self._head) or "The text is empty."

    @property
    def slug(self) -> str:
        """A slug of the title."""
        return slug_of(self.title if self.source.strip() else "", self.source)

    @property
    def extension(self) -> str:
        """`py` or `md`."""
        return "py" if self.is_code else "md"

    @property
    def has_defect(self) -> bool:
        """Whether a reviewer has reason to disapprove."""
        return not self.source.strip() or _DEFECT_LINE.search(self.source) is not None

    @property
    def confidence(self) -> float:
        """How clear the kind of the document is, 0.5 to 1.0."""
        return round(0.5 + abs(self.code_share - 0.5), 2)

    @property
    def rationale(self) -> str:
        """Why the document counts as what it counts as."""
        kind = "code" if self.is_code else "prose"
        return f"{self.code_share:.0%} of the text reads as Python, so it is treated as {kind}."

    @property
    def tool_answer(self) -> str:
        """What the tools returned, as one text."""
        return "\n".join(output.output for output in self.tool_outputs)

    def sentences(self, limit: int) -> list[str]:
        """Return the first sentences, each at most 200 characters."""
        return [cut_at_word(part, 200) for part in sentences_of(self._head, limit)]

    def stated(self, name: str) -> JsonValue:
        """Return what a tool's JSON output says under this key, else None."""
        for output in self.tool_outputs:
            try:
                value = as_object(loads(output.output)).get(name)
            except ValueError:
                continue
            if value is not None:
                return value
        return None

    def choose(self, values: list[str]) -> str:
        """Return the value that the document speaks for; the first where it speaks for none.

        Kinds (`notebook`, `markdown`) go by what the document is, verdicts (`approve`, `reject`) by whether it has a
        defect, all others by how often the document names them.
        """
        for yes, no, holds in ((_CODE_WORDS, _PROSE_WORDS, self._is_code), (_BAD_WORDS, _GOOD_WORDS, self._is_bad)):
            positive, negative = _naming(values, yes), _naming(values, no)
            if positive and negative:
                return (positive if holds() else negative)[0]
        heard = f"{self.tool_answer}\n{self.source}"
        counts = [len(re.findall(rf"\b{re.escape(value)}\b", heard, re.IGNORECASE)) for value in values]
        return values[counts.index(max(counts))]

    def _is_code(self) -> bool:
        return self.is_code

    def _is_bad(self) -> bool:
        return self.has_defect

    def truth(self, name: str) -> bool:
        """Return the value of a yes-or-no field: verdicts by defect, kinds by kind, others by being mentioned."""
        stated = self.stated(name)
        if isinstance(stated, bool):
            return stated
        words = set(words_of(name))
        if words & _GOOD_WORDS:
            return not self.has_defect
        if words & (_BAD_WORDS | {"defect", "issue", "issues", "problems"}):
            return self.has_defect
        if words & _CODE_WORDS:
            return self.is_code
        if words & _PROSE_WORDS:
            return not self.is_code
        heard = set(words_of(self.source[:20_000]))
        return bool((words - {"is", "has", "needs", "contains"}) & heard)

    def number(self, name: str) -> float:
        """Return the value of a number field: a confidence, a count, or the first number that is mentioned."""
        stated = as_number(self.stated(name))
        if stated is not None:
            return stated
        words = set(words_of(name))
        if words & {"certainty", "confidence", "probability", "rating", "score"}:
            return self.confidence
        if words & {"word", "words"}:
            return len(self.source.split())
        if words & {"line", "lines"}:
            return len(self.source.splitlines())
        if words & {"characters", "chars", "length"}:
            return len(self.source)
        found = _NUMBER.search(self.tool_answer) or _NUMBER.search(self.source)
        return float(found[0]) if found else 0

    def texts(self, name: str) -> list[str]:
        """Return texts for a field of this name, the best first; the next ones serve where a pattern refuses it."""
        stated = self.stated(name)
        first = [stated] if isinstance(stated, str) else []
        return [*first, *self._by_name(words_of(name), is_stated=bool(first))]

    def _by_name(self, words: list[str], *, is_stated: bool) -> list[str]:
        known = set(words)
        last = words[-1] if words else ""
        rules: tuple[tuple[bool, Callable[[], list[str]]], ...] = (
            (last in {"slug", "stem", "filename"} or {"file", "name"} <= known, lambda: [self.slug]),
            (last in {"extension", "ext", "suffix"}, lambda: [self.extension, f".{self.extension}"]),
            (bool(known & {"script", "python", "program"}) or words == ["code"], lambda: [self.script]),
            (bool(self.tool_outputs) and last in _ANSWERS, lambda: [self.tool_answer]),
            (last in _FULL_TEXT, lambda: [self._full_text()]),
            (last in {"issues", "issue", "problems", "problem"}, lambda: [self._issue()]),
            (last in {"suggestions", "suggestion", "feedback", "advice"}, lambda: [self._suggestion()]),
            (last in _TITLES, lambda: [self.title, self.slug]),
            (bool(known & _REASONS), lambda: [self.rationale]),
            (bool(self.tool_outputs) and not is_stated, lambda: [self.tool_answer, self.summary]),
            (True, lambda: [self.summary, *self.sentences(5), self.title, self.slug]),
        )
        return next(texts() for holds, texts in rules if holds)

    def _full_text(self) -> str:
        return self.script if self.is_code and "script" in self.around.lower() else self.tidied

    def _issue(self) -> str:
        if not self.source.strip():
            return "The text is empty."
        return "The text holds a line that is marked as a defect." if self.has_defect else "None found."

    def _suggestion(self) -> str:
        return "Take out what is marked as a defect." if self.has_defect else "None."


_TITLES: Final = {"heading", "headline", "name", "query", "subject", "title", "topic"}
_REASONS: Final = {"explanation", "justification", "rationale", "reason", "reasoning", "why"}
_ANSWERS: Final = {"answer", "output", "reply", "response", "result"}
_FULL_TEXT: Final = {"body", "content", "contents", "document", "markdown", "text", "transcript"} | _ANSWERS


def _naming(values: list[str], words: set[str]) -> list[str]:
    return [value for value in values if words.intersection(words_of(value))]
