"""What the stages put around a document, and take off a model's text."""

import re

from agent_pipeline.domain.document import Document

_FENCED = re.compile(r"\A\s*(`{3,}|~{3,})[^\n`]*\n(?P<inside>.*?)\n?\1\s*\Z", re.DOTALL)


def with_document(task: str, document: Document) -> str:
    """Write a prompt: the task, where the document is from, then its text between marks of its own."""
    origin = f"\nSource: {document.source}" if document.source else ""
    return f"{task}{origin}\n\n<document>\n{document.text}\n</document>"


def strip_code_fence(text: str) -> str:
    r"""Take off one code fence that encloses the whole text.

    >>> strip_code_fence("```python\nprint(1)\n```")
    'print(1)'
    >>> strip_code_fence("a ```b``` c")
    'a ```b``` c'
    """
    fenced = _FENCED.match(text)
    if fenced is None or fenced[1] in fenced["inside"]:
        return text
    return fenced["inside"]
