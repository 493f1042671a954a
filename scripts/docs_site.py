"""What mkdocs does not know of this documentation: its hooks, named in docs/site/mkdocs.yml.

Pages are written for a reader of the repository. On their way into the site

- the texts at the top of the repository become pages, and `examples/` comes along, so that links to them lead on;
- the navigation is what its patterns match;
- the comments that tell tests what to do with a block disappear (docs/contributing.md);
- `<!-- every command -->` becomes what `--help` says, and `<!-- names of MODULE -->` the names a module promises.
"""

import importlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from typer._click.core import Command
from typer.core import TyperGroup

from agent_pipeline.cli.app import NAME, app

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
TOP = {"README.md": "readme.md", "ARCHITECTURE.md": "architecture.md", "CHANGELOG.md": "changelog.md"}
"""Texts at the top of the repository, and the pages they become; mkdocs takes a README for an index."""

_ALONG = ("examples/*.py", "examples/*.yaml", "examples/*.ipynb", "examples/*.jsonl", "LICENSE")
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)(?P<path>[^)#\s]+)")
_BLOCK_MARK = re.compile(r"^<!-- (?:slow|output|slow output|not run: [^\n]*) -->\n(?=```)", re.MULTILINE)
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_COMMANDS = "<!-- every command -->"
_NAMES = re.compile(r"^<!-- names of (?P<module>[\w.]+) -->$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each pattern of the navigation by the pages it matches."""
    there = {path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md")}
    config.nav = expanded(config.nav or [], sorted(there | set(TOP.values())))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what lies outside of `docs/` and is a page, or linked to."""
    for name, page in TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for path in sorted(path for pattern in _ALONG for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        along = File.generated(config, name, abs_src_path=str(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(along)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page of the repository into one of the site."""
    del config, files  # mkdocs passes them by name
    return for_site(markdown, page=page.file.src_uri)


def for_site(markdown: str, *, page: str) -> str:
    """Return the text of a page as its readers on the site need it.

    Args:
        markdown: as it stands in the repository.
        page: its path in the site's sources, such as `decisions/0001-record-decisions.md`.
    """
    home = next((top for top, name in TOP.items() if name == page), f"{DOCS}/{page}")
    markdown = _BLOCK_MARK.sub("", _LINK.sub(lambda link: in_site(link["path"], home=home), markdown))
    # In a repository's tables a bar is escaped in code too; mkdocs would show the backslash.
    markdown = _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown)
    markdown = _NAMES.sub(lambda mark: "\n".join(directives(mark["module"])), markdown)
    return markdown.replace(_COMMANDS, "\n".join(every_command())) if _COMMANDS in markdown else markdown


def expanded(nav: list[Any], there: list[str]) -> list[Any]:
    """Return a navigation whose patterns have become the pages they match.

    A section without a page is left out, and so is a page with a title of its own that is not there.
    """
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            found += [page for page in there if Path(page).match(entry) and page.count("/") == entry.count("/")]
            continue
        for title, inside in entry.items():
            if isinstance(inside, str):
                found += [{title: page} for page in expanded([inside], there)]
            else:
                found += [{title: pages} for pages in [expanded(inside, there)] if pages]
    return found


def in_site(link: str, *, home: str) -> str:
    """Return a link of a page as the site needs it.

    Args:
        link: path from the page, without what follows `#`.
        home: the page's own path in the repository.
    """
    target = posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
    target = TOP.get(target, target.removeprefix(f"{DOCS}/"))
    return posixpath.relpath(target, posixpath.dirname(home.removeprefix(f"{DOCS}/")) or ".")


def directives(module: str) -> Iterator[str]:
    """Yield what makes mkdocstrings show each name of a module's `__all__`; errors have a module of their own."""
    errors = set(importlib.import_module("agent_pipeline.errors").__all__)
    names = importlib.import_module(module).__all__
    for name in names:
        if name not in errors or module == "agent_pipeline.errors":
            yield f"::: {module}.{name}"


def every_command() -> Iterator[str]:
    """Yield the lines of a reference of all commands, from the help texts of the program itself."""
    program = typer.main.get_command(app)
    yield from _commands(program, typer.Context(program, info_name=NAME))


def _commands(command: Command, context: typer.Context) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, inside in command.commands.items():
            if not inside.hidden:
                yield from _commands(inside, typer.Context(inside, info_name=name, parent=context))
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("", f"## {context.command_path.removeprefix(NAME).strip()}", "", "```text", usage, "```", "")
    yield command.help or ""
    yield from ("", "| flag | meaning |", "|---|---|")
    # Arguments first; the order of flags is that of `--help`.
    for parameter in sorted(command.get_params(context), key=lambda one: one.param_type_name != "argument"):
        record = parameter.get_help_record(context)
        if record is not None:
            yield f"| `{' '.join(record[0].split())}` | {_cell(record[1])} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
