"""The documentation site: built without a warning, asking nobody for anything, with every command and every name."""

import asyncio
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from playwright import sync_api as playwright
from ruamel.yaml import YAML
from tests.house.test_contract_names import PROMISED
from tests.house.tracked import ROOT, tracked
from typer._click.core import Command
from typer.core import TyperGroup, TyperOption

from agent_pipeline.cli.app import app
from scripts.docs_site import TOP, directives, every_command, expanded, for_site, in_site

CONFIG = ROOT / "docs" / "site" / "mkdocs.yml"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
_FETCHED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=["']?(?P<url>(?:https?:)?//[^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; where the build has anything to say, there is none."""
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(CONFIG)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "--site-dir", str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_fetches_nothing_and_shows_no_marks(site: Path) -> None:
    """It is read offline, by people who do not know how its pages are tested."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}

    fetched = {found["url"] for text in pages.values() for found in _FETCHED.finditer(text)}
    marks = [path.name for path, text in pages.items() if re.search(r"<!-- (?:slow|output|not run|every|names)", text)]

    assert len(pages) > len(tracked("docs/*.md"))
    assert not fetched
    assert not marks


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
def test_search_works_in_a_page_that_was_opened_as_a_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers start no worker there; docs/site/iframe-worker.js stands in for it."""
    requests: list[str] = []
    errors: list[str] = []
    # Playwright wants a plain loop, not what trio-asyncio puts in its place where another test has imported it.
    monkeypatch.setattr(asyncio, "new_event_loop", asyncio.SelectorEventLoop)

    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((site / "index.html").as_uri())
        page.click("input[name=query]")
        page.keyboard.type("poisoned")
        page.wait_for_selector(".md-search-result__item a[href*='troubleshooting']")
        browser.close()

    assert not errors
    assert not [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]


def test_every_command_and_each_of_its_flags_is_in_the_reference() -> None:
    """It is made of the program; what makes it might leave something out."""
    text = "\n".join(every_command())
    sections = {section.partition("\n")[0]: section for section in text.split("\n## ")[1:]}

    there = dict(leaves(typer.main.get_command(app)))

    assert set(sections) == set(there)
    for name, command in there.items():
        assert (command.help or "").partition("\n")[0] in sections[name]
        for parameter in command.params:
            assert (
                f"`{parameter.opts[0] if isinstance(parameter, TyperOption) else parameter.metavar}" in sections[name]
            )


def leaves(command: Command, name: str = "") -> Iterator[tuple[str, Command]]:
    """Yield the commands that do something, by the words that call them."""
    if isinstance(command, TyperGroup):
        for word, inside in command.commands.items():
            yield from leaves(inside, f"{name} {word}".strip())
    else:
        yield name, command


@pytest.mark.parametrize("module", PROMISED)
def test_every_promised_name_is_in_the_reference(module: str) -> None:
    """Names are promised in one place and listed in another."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"<!-- names of {module} -->" in page

    listed = {line.rpartition(".")[2] for one in (module, "agent_pipeline.errors") for line in directives(one)}

    assert set(PROMISED[module].split()) <= listed


def test_an_error_is_listed_once() -> None:
    """It can be imported from several modules; two entries would be two truths."""
    modules = [*PROMISED, "agent_pipeline.testing", "agent_pipeline.errors"]
    names = [line.rpartition(".")[2] for module in modules for line in directives(module)]

    errors = importlib.import_module("agent_pipeline.errors").__all__
    assert all(names.count(error) == 1 for error in errors)


@pytest.mark.parametrize(
    ("link", "home", "wanted"),
    [
        ("docs/faults.md", "README.md", "faults.md"),
        ("../README.md", "docs/faults.md", "readme.md"),
        ("../../ARCHITECTURE.md", "docs/decisions/0001-x.md", "../architecture.md"),
        ("../faults.md", "docs/decisions/0001-x.md", "../faults.md"),
        ("../examples/own_stage.py", "docs/stages.md", "examples/own_stage.py"),
        ("examples/own_stage.py", "README.md", "examples/own_stage.py"),
    ],
)
def test_a_link_of_the_repository_leads_on_in_the_site(link: str, home: str, wanted: str) -> None:
    """The same text is read in both places."""
    assert in_site(link, home=home) == wanted


def test_a_pattern_of_the_navigation_is_what_it_matches() -> None:
    """A page that is not there yet breaks nothing, a new decision needs no edit."""
    nav = ["index.md", {"How": ["report.md", "n*.md"]}, {"Gone": ["gone.md"]}, {"Read": "readme.md"}, {"Not": "not.md"}]
    there = ["decisions/nine.md", "index.md", "name.md", "nine.md", "readme.md"]

    assert expanded(nav, there) == ["index.md", {"How": ["name.md", "nine.md"]}, {"Read": "readme.md"}]


def test_every_page_is_matched_by_the_navigation() -> None:
    """The build says so too, but it is slow."""
    there = [path.relative_to(ROOT / "docs").as_posix() for path in tracked("docs/*.md")]
    nav = expanded(YAML(typ="safe", pure=True).load(CONFIG)["nav"], sorted([*there, *TOP.values()]))

    found = re.findall(r"[\w/-]+\.md", str(nav))

    assert sorted(found) == sorted({*there, *TOP.values()} - {"decisions/template.md"})


def test_marks_for_tests_do_not_reach_the_reader() -> None:
    """They would stand as text above a block."""
    text = "<!-- not run: why -->\n```sh\nx\n```\n\n<!-- slow output -->\n```text\ny\n```\n"

    assert for_site(text, page="a.md") == "```sh\nx\n```\n\n```text\ny\n```\n"


def test_links_are_rewritten_and_addresses_are_not() -> None:
    """A link in a text at the top begins elsewhere than one in a page."""
    text = "[a](docs/faults.md#errors), [b](https://docs.example.org/x), [c](#here)\n"

    assert for_site(text, page="readme.md") == "[a](faults.md#errors), [b](https://docs.example.org/x), [c](#here)\n"


def test_a_bar_in_code_has_no_backslash_in_a_table_and_keeps_it_elsewhere() -> None:
    """Where a repository is read, a table needs it."""
    text = "| `a \\| b` | c \\| d |\n\n`grep 'a\\|b'`\n"

    assert for_site(text, page="a.md") == "| `a | b` | c \\| d |\n\n`grep 'a\\|b'`\n"
