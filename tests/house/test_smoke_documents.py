"""configs/smoke_documents.json holds what the smoke run needs, and its harvest loses and invents nothing."""

import ast
import json

import pytest
from tests.house.tracked import ROOT, relative, tracked

from scripts.make_smoke_documents import LEAST, TARGET, cells, documents, session, shortcomings, texts


def test_committed_documents_lack_nothing() -> None:
    """The smoke run is shown with these, on a fresh clone."""
    held = json.loads(TARGET.read_text(encoding="utf-8"))

    assert shortcomings(held) == []


def test_a_fresh_harvest_lacks_nothing() -> None:
    """The tree goes on changing; what it is harvested into must not get poorer with it."""
    assert shortcomings(documents()) == []


def test_harvest_is_deterministic() -> None:
    """A rerun without a change must not show up as one."""
    assert documents() == documents()


def test_every_url_names_one_part_of_a_committed_file() -> None:
    """The documents are the project's own; two with one url could not be told apart."""
    held = documents()
    urls = [str(entry["url"]) for listed in held.values() for entry in listed]
    committed = {relative(path) for path in tracked()} | {"docs"}

    assert len(set(urls)) == len(urls)
    assert {url.removeprefix("file:").partition("#")[0] for url in urls} <= committed


def test_first_five_documents_are_a_mixture() -> None:
    """`--limit 5` is the first thing a newcomer sees: it has to take every route."""
    kinds = [kind for kind, _ in texts(documents())][:5]

    assert {"markdown", "python", "notebook"} <= set(kinds)


@pytest.mark.parametrize("requirement", LEAST)
def test_each_requirement_can_be_missed(requirement: str) -> None:
    """A check that everything passes checks nothing."""
    lacking = {line.partition(":")[0] for line in shortcomings({"scraped_documents": [{"url": "x", "markdown": ""}]})}

    assert requirement in lacking


def test_entries_without_url_or_text_do_not_count() -> None:
    """The run skips them, so they are not documents."""
    entries = [{"url": "", "markdown": "text"}, {"url": "file:a"}, {"markdown": "text"}]

    assert list(texts({"scraped_documents": entries, "follow_up_documents": "not a list"})) == []


def test_cells_keep_every_statement() -> None:
    """A notebook that lost code is not the module it claims to be."""
    for path in tracked("src/*.py", "scripts/*.py"):
        source = path.read_text(encoding="utf-8")
        body = ast.parse(source).body
        code = body[1:] if ast.get_docstring(ast.parse(source)) else body

        assert [ast.dump(node) for node in ast.parse(cells(source)).body] == [ast.dump(node) for node in code]


def test_session_numbers_cells_and_keeps_prose() -> None:
    """Notebook-like text means prose, inputs and outputs in order."""
    source = 'def f():\n    """Say.\n\n    >>> x = 1\n    >>> x\n    1\n\n    After.\n    """\n'

    assert session(source) == "Say.\n\nIn [1]: x = 1\n\nIn [2]: x\nOut[2]: 1\n\nAfter."


def test_target_is_where_the_smoke_config_looks() -> None:
    """`configs/smoke.yaml` names the file beside it."""
    assert TARGET == ROOT / "configs" / "smoke_documents.json"
