"""Turn notebook text into a Python script that compiles: code stays, prose becomes comments."""

import ast
import re
import textwrap
import warnings
from typing import Final

from agent_pipeline.simulator.json_values import as_list, as_object, as_text, loads

_FENCE = re.compile(r"^\s*(```+|~~~+)\s*\{?\.?(\w*)")
_PROMPT = re.compile(r"^(?:In \[[ \d]*\]: ?|>>> ?|\.\.\. ?)")
_CODE_LANGUAGES: Final = {"", "python", "py", "python3", "ipython"}


def is_notebook_json(text: str) -> bool:
    """Whether the text is the JSON of a Jupyter notebook."""
    head = text.lstrip()[:1]
    return head == "{" and '"cells"' in text and bool(_notebook_cells(text))


def holds_statements(code: str) -> bool:
    """Whether the text is Python that does something; a word of prose also parses, but does nothing."""
    tree = _parsed(code)
    return tree is not None and any(map(_acts, tree.body))


def to_script(text: str) -> str:
    """Return a script that compiles and keeps all of the text, as code where it is Python, else as comments."""
    if holds_statements(text) and _compiles(text):
        return _ended(text)
    cells = _notebook_cells(text) if '"cells"' in text else []
    segments = cells or _segments(text)
    script = _ended("\n\n".join(_as_code(part) if is_code else _commented(part) for is_code, part in segments))
    return script if _compiles(script) else _ended("# -*- coding: utf-8 -*-\n" + _commented(text))


def _ended(text: str) -> str:
    stripped = text.strip("\n")
    return stripped + "\n" if stripped else ""


def _parsed(code: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in a stranger's code are not ours to report
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _compiles(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(code.encode(), "<script>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call | ast.Await)
    return not (isinstance(statement, ast.AnnAssign) and statement.value is None)


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.strip("\n").split("\n"))


def _as_code(text: str) -> str:
    code = textwrap.dedent(text).strip("\n")
    lines = (f"# {line}" if line.lstrip()[:1] in {"%", "!"} else line for line in code.split("\n"))
    code = "\n".join(lines)  # shell lines and magics mean something to a notebook only
    return code if _compiles(code) else _commented(text)


def _notebook_cells(text: str) -> list[tuple[bool, str]]:
    try:
        cells = as_list(as_object(loads(text)).get("cells"))
    except ValueError:
        return []
    found = []
    for cell in map(as_object, cells):
        source = cell.get("source")
        part = "".join(map(as_text, source)) if isinstance(source, list) else as_text(source)
        if part.strip():
            found.append((cell.get("cell_type") == "code", part))
    return found


def _segments(text: str) -> list[tuple[bool, str]]:
    """Split into fenced blocks and the paragraphs between them; the flag says what should be tried as code."""
    found: list[tuple[bool, str]] = []
    loose: list[str] = []
    fenced: list[str] = []
    closing, is_code = "", False
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if closing:
            if fence and fence[1].startswith(closing) and not fence[2]:
                found.append((is_code, "\n".join(fenced)))
                closing, fenced = "", []
            else:
                fenced.append(line)
        elif fence:
            found.extend(_paragraphs(loose))
            loose, closing, is_code = [], fence[1], fence[2].lower() in _CODE_LANGUAGES
        else:
            loose.append(line)
    found.extend([(is_code, "\n".join(fenced))] if fenced else _paragraphs(loose))
    return found


def _paragraphs(lines: list[str]) -> list[tuple[bool, str]]:
    """Group lines at blank ones; an indented line goes on with the paragraph before it, as a function body does."""
    groups: list[list[str]] = []
    after_blank = True
    for line in lines:
        if after_blank and line.strip() and not (groups and line[:1].isspace()):
            groups.append([])
        if groups:
            groups[-1].append(line)
        after_blank = not line.strip()
    return [_judged("\n".join(group)) for group in groups]


def _judged(paragraph: str) -> tuple[bool, str]:
    code = "\n".join(_PROMPT.sub("", line) for line in paragraph.split("\n"))
    tree = _parsed(textwrap.dedent(code))
    only_comments = tree is not None and not tree.body
    return (True, code) if only_comments or (tree and any(map(_acts, tree.body))) else (False, paragraph)
