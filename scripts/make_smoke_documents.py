"""Harvest configs/smoke_documents.json, the documents of the smoke run, from the project's own texts and code.

`python scripts/make_smoke_documents.py` writes the file; with `--check` it says what the file as it stands lacks. The
texts it was made from go on changing: the check is of what the file holds, not of whether it is fresh.
"""

import argparse
import ast
import doctest
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path

from agent_pipeline.simulator import DEFECT

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "configs" / "smoke_documents.json"

# In order of preference; what a newcomer reads comes first.
MARKDOWN = ("README.md", "ARCHITECTURE.md", "docs/*.md", "examples/*.md", "CHANGELOG.md", "docs/decisions/*.md")
PYTHON = ("examples/*.py", "scripts/*.py", "benchmarks/*.py", "src/agent_pipeline/**/*.py")

MOST_OF_A_KIND = 10
SMALLEST_BYTES = 300  # a page, not a stub; the tiny document is made on purpose
LONG_BYTES = 20_000
TINY_BYTES = 200
LEAST = {"documents": 24, "markdown": 3, "python": 3, "notebook": 3, "long": 1, "tiny": 1, "non-ASCII": 1}

Entry = dict[str, str | dict[str, str]]


def harvested(patterns: Iterable[str]) -> list[Path]:
    """List the repository's files in the order of the patterns, then of their names, each once, stubs left out."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", f":(glob){pattern}"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found |= dict.fromkeys(ROOT / name for name in sorted(set(filter(None, names.split("\0")))))
    return [path for path in found if path.is_file() and path.stat().st_size >= SMALLEST_BYTES and not marked(path)]


def marked(path: Path) -> bool:
    """Say whether a text holds the mark that makes the simulator disapprove: what explains it is no smoke document."""
    return DEFECT in path.read_text(encoding="utf-8")


def entry(path: Path, text: str, kind: str, *, part: str = "") -> Entry:
    """Make one document; its url is the path inside the repository."""
    name = path.relative_to(ROOT).as_posix()
    metadata = {"kind": kind, "title": path.stem.replace("_", " ").replace("-", " "), "path": name}
    return {"url": f"file:{name}#{part}" if part else f"file:{name}", "markdown": text, "metadata": metadata}


def plain(path: Path, kind: str) -> Entry:
    """Take a file as it is."""
    return entry(path, path.read_text(encoding="utf-8"), kind)


def session(source: str) -> str:
    r"""Render the doctests of a module as the session of a notebook, prose between the cells.

    >>> print(session('\"\"\"Add.\n\n>>> 1 + 1\n2\n\"\"\"'))
    Add.
    <BLANKLINE>
    In [1]: 1 + 1
    Out[1]: 2
    """
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, nodes)]
    blocks: list[str] = []
    cell = 0
    for piece in chain.from_iterable(doctest.DocTestParser().parse(text) for text in texts if ">>>" in text):
        if isinstance(piece, str):
            blocks += [piece.strip()] if piece.strip() else []
            continue
        cell += 1
        answer = f"\nOut[{cell}]: {piece.want.rstrip()}" if piece.want else ""
        blocks.append(f"In [{cell}]: {piece.source.rstrip()}{answer}")
    return "\n\n".join(blocks)


def cells(source: str) -> str:
    r"""Render a module as a notebook in the percent format: one cell per definition, docstring first.

    >>> print(cells('\"\"\"Count.\"\"\"\nimport sys\nn = 1\n\ndef f():\n    return n\n'))
    # %% [markdown]
    # Count.
    <BLANKLINE>
    # %%
    import sys
    n = 1
    <BLANKLINE>
    # %%
    def f():
        return n
    """
    tree, lines = ast.parse(source), source.splitlines()
    docstring = ast.get_docstring(tree)
    rendered = ["# %% [markdown]\n" + "\n".join(f"# {line}".rstrip() for line in (docstring or "").splitlines())]
    starts_cell = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If)
    current: list[str] = []
    for node in tree.body[1:] if docstring else tree.body:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        if isinstance(node, starts_cell) and current:
            rendered.append("\n".join(["# %%", *current]))
            current = []
        current += lines[first - 1 : node.end_lineno]
    return "\n\n".join([*rendered, "\n".join(["# %%", *current])]) if current else "\n\n".join(rendered)


def notebook(path: Path) -> Entry:
    """Render a module as notebook-like text: its doctests if it has a few, else its definitions as cells."""
    source = path.read_text(encoding="utf-8")
    doctests = session(source)
    return entry(path, doctests if doctests.count("In [") > 2 else cells(source), "notebook", part="notebook")


def long_document(paths: Iterable[Path]) -> Entry:
    """Join texts, whole ones only, until there are enough."""
    parts: list[str] = []
    for path in paths:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        parts.append(text if path.suffix == ".md" else f"# {name}\n\n```python\n{text}```\n")
        if sum(len(part.encode()) for part in parts) > LONG_BYTES:
            break
    return entry(ROOT / "docs", "\n".join(parts), "long", part="joined")


def tiny_document() -> Entry:
    """Take the one line that says what the project is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return entry(ROOT / "pyproject.toml", f"{project['description']}\n", "tiny", part="description")


def documents() -> dict[str, list[Entry]]:
    """Harvest: kinds in turn, so that the first five are already a mixture; what is made of several texts follows."""
    markdown, python = harvested(MARKDOWN), harvested(PYTHON)
    # Modules that are taken as they are and modules shown as notebooks differ while there are enough of both.
    as_they_are, as_notebooks = python[::2], python[1::2]
    kinds = (
        (plain(path, "markdown") for path in markdown[:MOST_OF_A_KIND]),
        (plain(path, "python") for path in as_they_are[:MOST_OF_A_KIND]),
        (notebook(path) for path in as_notebooks[:MOST_OF_A_KIND]),
    )
    scraped = [found for found in chain.from_iterable(zip_longest(*kinds)) if found is not None]
    missing = max(0, LEAST["documents"] - len(scraped) - 2)
    # A small tree does not reach the number; then a module is shown in both ways.
    spare = [*map(notebook, as_they_are), *(plain(path, "python") for path in as_notebooks)][:missing]
    follow_up = [long_document([*markdown, *reversed(python)]), tiny_document(), *spare]
    return {"scraped_documents": scraped, "follow_up_documents": follow_up}


def texts(held: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of every usable entry."""
    for name in ("scraped_documents", "follow_up_documents"):
        listed = held.get(name)
        for found in listed if isinstance(listed, list) else []:
            if found.get("url") and found.get("markdown"):
                yield found.get("metadata", {}).get("kind", ""), found["markdown"]


def shortcomings(held: Mapping[str, object]) -> list[str]:
    """Say what a set of documents lacks.

    >>> shortcomings({"scraped_documents": []})[:2]
    ['documents: 0, at least 24 wanted', 'markdown: 0, at least 3 wanted']
    """
    found = list(texts(held))
    tests: dict[str, Callable[[str, str], bool]] = {
        "documents": lambda _kind, _text: True,
        "long": lambda _kind, text: len(text.encode()) > LONG_BYTES,
        "tiny": lambda _kind, text: len(text.encode()) < TINY_BYTES,
        "non-ASCII": lambda _kind, text: not text.isascii(),
    }
    counts = {
        name: sum(tests[name](kind, text) if name in tests else kind == name for kind, text in found) for name in LEAST
    }
    return [f"{name}: {counts[name]}, at least {least} wanted" for name, least in LEAST.items() if counts[name] < least]


def main() -> int:
    """Write or check the file; 1 if it lacks something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say what the file lacks")
    if parser.parse_args().check:
        held = json.loads(TARGET.read_text(encoding="utf-8"))
    else:
        held = documents()
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(json.dumps(held, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    lacking = shortcomings(held)
    print(f"{TARGET.relative_to(ROOT)}: {len(list(texts(held)))} documents")
    for line in lacking:
        print(f"lacks {line}", file=sys.stderr)
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main())
