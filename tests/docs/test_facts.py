"""What the documentation lists is what there is: keys, flags, codes, events, columns, layers, files."""

import importlib
import pkgutil
import re
import sqlite3
import tomllib
import typing
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML
from tests.docs.blocks import blocks_of
from tests.docs.test_blocks import DOCUMENTS
from tests.house.tracked import ROOT, tracked
from typer.main import get_command

from agent_pipeline import domain, errors
from agent_pipeline.cli.app import app
from agent_pipeline.cli.flags import ResumeFlags, RunFlags
from agent_pipeline.cli.smoke import SmokeFlags
from agent_pipeline.compose import verdict
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.pipeline_models import PipelineText
from agent_pipeline.config.role_models import ProviderConfig, RoleConfig, RuntimeConfig
from agent_pipeline.domain import events
from agent_pipeline.ledger.schema import connect
from agent_pipeline.pipeline.signals import EXIT_CODES
from agent_pipeline.runs.verify.findings import DifferenceCode, NoteCode
from agent_pipeline.simulator import faults
from agent_pipeline.telemetry.record import RAW

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
KindT = TypeVar("KindT")
FOREIGN_FLAGS = {
    "--address",
    "--head",
    "--working-dir",
    "--upgrade",
    "--check",
    "--hypothesis-profile",
    "--strict",
    "--output-format",
    *("--api-key", "--served-model-name", "--enable-auto-tool-choice", "--reasoning-parser", "--jinja", "--parallel"),
    *("--head", "--address", "--working-dir", "--generate"),
}  # of scripts, pytest, mypy and claude; in the line before the last of vllm and llama-server, in the last of ray


def text_of(document: str) -> str:
    """Return a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """Return a document without its fenced blocks, which are carried out by other tests."""
    return re.sub(r"^```\w*\n.*?^```$", "", text_of(document), flags=re.MULTILINE | re.DOTALL)


def section(document: str, title: str) -> str:
    """Return what stands below a heading, up to the next one, without the fenced blocks."""
    found = re.search(rf"^#+ {re.escape(title)}$\n(.*?)(?=^#+ |\Z)", prose(document), re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no heading {title!r}"
    return found[1]


def words(text: str) -> list[str]:
    """Return the words set as code, one by one."""
    return " ".join(re.findall(r"`([^`\n]+)`", text)).split()


def first_cells(text: str) -> list[str]:
    """Return the words set as code in the first column of tables."""
    return words("\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|")))


def subclasses(kind: type[KindT]) -> Iterator[type[KindT]]:
    """Yield all classes of the package below this one; other tests make some of their own."""
    for one in kind.__subclasses__():
        if one.__module__.startswith("agent_pipeline."):
            yield one
        yield from subclasses(one)


def keys(model: type[BaseModel], prefix: str) -> list[str]:
    """Return a model's keys, those of models inside it in their place."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        is_model = isinstance(kind, type) and issubclass(kind, BaseModel) and name != "requests_in_flight"
        found += keys(kind, f"{prefix}{name}.") if is_model else [f"{prefix}{name}"]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """A link that leads nowhere is a promise broken."""
    folder = (ROOT / document).parent
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(document)) if not link.startswith("https://")]

    missing = [link for link in links if not (folder / link.partition("#")[0]).exists()]

    assert not missing


def test_every_key_of_the_pipeline_file_is_explained_and_no_other() -> None:
    """A key that is not explained is not there for its users."""
    there = {key.removesuffix(".path").removesuffix(".glob") for key in keys(PipelineText, "")}

    assert set(first_cells(section("docs/configuration.md", "The pipeline file"))) == there


def test_the_limits_that_are_shown_are_the_defaults() -> None:
    """Who leaves them out wants to know what holds."""
    shown = next(block.text for block in blocks_of("docs/configuration.md") if "limits:" in block.text)
    limits = YAML(typ="safe", pure=True).load(shown)["limits"]

    assert LimitsConfig.model_validate({**limits, "budget": {}}) == LimitsConfig()


def test_every_key_of_the_roles_file_is_explained_and_no_other() -> None:
    """As above."""
    there = {key for key in keys(RuntimeConfig, "") if key not in {"providers", "roles"}}
    there |= {*keys(ProviderConfig, "providers.<id>."), *keys(RoleConfig, "roles.<name>.")}

    assert set(first_cells(section("docs/configuration.md", "The roles file"))) == there


def flags_of(command: Any) -> Iterator[str]:  # noqa: ANN401 - of a library that typer carries along
    """Yield the flags of a command and of those below it."""
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))
    for below in getattr(command, "commands", {}).values():
        yield from flags_of(below)


def test_every_flag_is_named_and_no_other() -> None:
    """Flags come and go with the code."""
    fields = [*SmokeFlags.__dataclass_fields__, *ResumeFlags.__dataclass_fields__]
    flags = {f"--{name.replace('_', '-')}" for name in fields if name != "run"}
    commands = section("README.md", "Commands")
    named = {flag for document in DOCUMENTS for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose(document))}

    assert set(RunFlags.__dataclass_fields__) <= set(SmokeFlags.__dataclass_fields__)
    assert not {flag for flag in flags if flag not in commands}
    others = {"--help", "--first", "--seeds", "--jobs", "--keep", "--install-completion"}
    assert named <= flags | {*flags_of(get_command(app))} | FOREIGN_FLAGS | others


def test_every_exit_code_is_explained_and_no_other() -> None:
    """Scripts decide by them."""
    rows = re.findall(r"^\| ([\d, ]+) \|", section("README.md", "Commands"), re.MULTILINE)
    codes = {value for name, value in vars(verdict).items() if name.isupper() and isinstance(value, int)}

    assert {int(code) for row in rows for code in row.split(",")} == codes | {2} | set(EXIT_CODES.values())


def test_every_error_code_is_explained_and_no_other() -> None:
    """The ledger holds the code; this is where its reader looks it up."""
    base = errors.AgentPipelineError
    codes = {base.code, *(one.code for one in subclasses(base))}

    assert sorted(first_cells(section("docs/faults.md", "Errors"))) == sorted(codes)


def test_every_finding_is_listed_and_no_other() -> None:
    """Who checks runs by a program decides by these words."""
    text = section("docs/run-directory.md", "Checking a run")
    table, _, notes = text.partition("Notes say nothing")

    assert sorted(first_cells(table)) == sorted(typing.get_args(DifferenceCode))
    assert sorted(first_cells(notes)) == sorted(typing.get_args(NoteCode))


def test_every_event_is_explained_and_no_other() -> None:
    """The run log is read by its words."""
    raw = {one.name for one in (*RAW, events.StageMessage)}  # finished lines, and a stage's own words

    for module in pkgutil.iter_modules(domain.__path__, f"{domain.__name__}."):
        importlib.import_module(module.name)  # an event is known once its module is, whichever tests ran before

    names = {one.name for one in subclasses(events.Event)}

    table = "\n".join(re.findall(r"^\|.*$", section("docs/run-directory.md", "The run log"), re.MULTILINE))
    assert {name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])} == names - raw


def test_every_column_of_the_ledger_is_listed_and_no_other(tmp_path: Path) -> None:
    """Users query them."""
    with closing(connect(tmp_path / "ledger.sqlite3")) as ledger:
        there = columns(ledger)

    rows = re.findall(r"^\| `(\w+)` \| `([\w ]+)` \|$", section("docs/run-directory.md", "The ledger"), re.MULTILINE)

    assert {table: names.split() for table, names in rows} == there


def columns(ledger: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of each table."""
    tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {table: [row[1] for row in ledger.execute(f"PRAGMA table_info({table})")] for table in tables}


def test_every_kind_of_fault_is_explained_and_no_other() -> None:
    """The faults file is written by hand."""
    members = typing.get_args(typing.get_args(faults.Fault)[0])
    kinds = {kind for member in members for kind in typing.get_args(member.model_fields["kind"].annotation)}

    assert set(first_cells(section("docs/simulator.md", "Faults"))) == kinds


def test_layers_are_those_that_the_import_contracts_hold() -> None:
    """The picture of the rooms is checked at each commit; this one has to be the same."""
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    there = [[name.strip(" ()") for name in layer.split("|")] for layer in layers]
    package = ROOT / "src" / "agent_pipeline"
    existing = [[name for name in layer if list(package.glob(f"{name}*"))] for layer in there]

    rows = section("ARCHITECTURE.md", "The rooms, top to bottom, and what each hides").splitlines()
    shown = [words(row.split("|")[1]) for row in rows if row.startswith("| `")]

    assert [sorted(layer) for layer in shown] == [sorted(layer) for layer in existing if layer]


def test_files_that_hold_a_fact_are_there() -> None:
    """Files move."""
    table = section("ARCHITECTURE.md", "Where each fact lives")
    named = re.findall(r"`([\w/]+\.py)`", table)

    assert named
    assert not [name for name in named if not (ROOT / "src" / "agent_pipeline" / name).is_file()]


def test_every_decision_has_the_sections_of_the_template() -> None:
    """A record without what was rejected, or without how we would notice, is an announcement."""
    wanted = re.findall(r"^## .*$", text_of("docs/decisions/template.md"), re.MULTILINE)

    for path in tracked("docs/decisions/0*.md"):
        assert re.findall(r"^## .*$", path.read_text(encoding="utf-8"), re.MULTILINE) == wanted, path.name
