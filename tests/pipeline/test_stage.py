"""Stages: made by a decorator, found by name, and what their context lets them do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.bridge.world import make_roles
from tests.pipeline.world import entry, open_run, plan
from trio.testing import MockClock

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import PipelineFailure, StageMessage
from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.registry import load_stage
from agent_pipeline.pipeline.stage import PlannedStage, Stage, stage


class Summary(BaseModel):
    """A structured answer."""

    title: str


# --- the decorator -----------------------------------------------------------------------------------------------


def test_decorator_with_and_without_parentheses() -> None:
    """Name and role are optional; the function's own name is the default."""

    @stage
    async def plain(document: Document, context: StageContext) -> Document:
        return document

    @stage(role="writer", name="other")
    async def named(document: Document, context: StageContext) -> Document:
        return document

    assert (plain.name, plain.role) == ("plain", None)
    assert (named.name, named.role) == ("other", "writer")


async def test_stage_can_be_called_like_its_function() -> None:
    """So that a test of a stage needs no pipeline."""

    @stage
    async def shout(document: Document, context: StageContext) -> Document:
        return document.with_text(document.text.upper())

    context: Any = None

    assert (await shout(Document("1", "text"), context)).text == "TEXT"


@pytest.mark.parametrize("wrong", ["summariser", 3, {"role": "writer"}])
def test_decorator_refuses_what_is_no_function(wrong: Any) -> None:  # noqa: ANN401
    """`@stage("writer")` looks right, and would make a stage of a text."""
    with pytest.raises(TypeError, match="role="):
        stage(wrong)
    with pytest.raises(TypeError, match="role="):
        stage(role="writer")(wrong)


# --- finding stages ----------------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """Return a folder such as a config's, and forget what was imported from it."""
    path, modules = [*sys.path], {*sys.modules}
    yield tmp_path
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        module = sys.modules[name]
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


GOOD = """
from agent_pipeline.pipeline.stage import stage
from {helper} import WORD

@stage(role="writer")
async def mine(document, context):
    return document.with_text(WORD)

plain = 3
"""


def test_stage_beside_the_config(beside: Path) -> None:
    """With modules of its own next to it."""
    (beside / "stages_a.py").write_text(GOOD.format(helper="words_a"))
    (beside / "words_a.py").write_text("WORD = 'word'\n")

    found = load_stage("stages_a:mine", beside=beside)

    assert (found.name, found.role) == ("mine", "writer")
    assert load_stage("stages_a:mine", beside=beside) is found


def test_stage_on_the_python_path(beside: Path) -> None:
    """By its package; the folder beside the config is only looked at after it."""
    (beside / "json.py").write_text("raise AssertionError\n")

    assert load_stage("agent_pipeline.stages.route:route", beside=beside).name == "route"
    with pytest.raises(ConfigError, match="has no such name"):
        load_stage("json:mine", beside=beside)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere_to_be_found:mine", "can't import 'nowhere_to_be_found': ModuleNotFoundError"),
        ("stages_b:theirs", "'theirs' in 'stages_b' has no such name"),
        ("stages_b:plain", "is a int, not made with @stage"),
        ("stages_b:", "has no such name"),
        ("stages_b", "has no such name"),
        (":mine", "can't import"),
        ("sys:mine", "has no such name"),
        (".relative:mine", "can't import"),
        ("raises:mine", "can't import 'raises': ValueError: at import"),
        ("leaves:mine", "can't import 'leaves': SystemExit: 3"),
        ("typo:mine", "can't import 'typo': SyntaxError"),
    ],
)
def test_what_can_not_be_loaded_is_a_config_error(beside: Path, spec: str, words: str) -> None:
    """It says which stage, which module, and what was wrong; nothing of it ends the process."""
    (beside / "stages_b.py").write_text(GOOD.format(helper="words_b"))
    (beside / "words_b.py").write_text("WORD = 'word'\n")
    (beside / "raises.py").write_text("raise ValueError('at import')\n")
    (beside / "leaves.py").write_text("raise SystemExit(3)\n")
    (beside / "typo.py").write_text("def mine(:\n")

    with pytest.raises(ConfigError) as caught:
        load_stage(spec, beside=beside)

    assert words in str(caught.value)
    assert repr(spec) in str(caught.value)
    assert caught.value.key == "stages"


def test_same_module_name_beside_two_configs(beside: Path) -> None:
    """Two projects in one process, each with its `stages.py`: each gets its own, helpers and packages included."""
    for name in ("one", "two"):
        (beside / name / "package").mkdir(parents=True)
        (beside / name / "our_words.py").write_text(f"WORD = {name!r}\n")
        for path in ("our_stages.py", "package/__init__.py"):
            (beside / name / path).write_text(
                "from agent_pipeline.pipeline.stage import stage\n"
                "from our_words import WORD\n"
                "@stage(name=WORD)\nasync def mine(document, context):\n    return document\n"
            )

    for module in ("our_stages", "package"):
        for name in ("one", "two", "one"):
            assert load_stage(f"{module}:mine", beside=beside / name).name == name
    ours = [entry for entry in sys.path if entry.startswith(str(beside))]
    assert ours == [str(beside / "one")]


def test_looking_beside_another_config_drops_nothing_else(beside: Path) -> None:
    """What lies deeper in the folder, such as a virtual environment, and this package stay loaded."""
    (beside / "one" / "lib").mkdir(parents=True)
    (beside / "two").mkdir()
    (beside / "one" / "near.py").write_text("")
    (beside / "one" / "lib" / "far.py").write_text("")
    (beside / "one" / "agent_pipeline.py").write_text("raise AssertionError\n")
    sys.path.append(str(beside / "one" / "lib"))
    for spec in ("near:x", "far:x"):
        with pytest.raises(ConfigError):
            load_stage(spec, beside=beside / "one")
    before = {*sys.modules}

    with pytest.raises(ConfigError):
        load_stage("nowhere_to_be_found:x", beside=beside / "two")

    assert before - {*sys.modules} == {"near"}


def test_program_beside_a_config_stays_what_it_is(beside: Path) -> None:
    """Run with `-P` its folder is not on the path; taking it out of `sys.modules` would break pickling and more."""
    (beside / "other").mkdir()
    program = beside / "program.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from agent_pipeline.errors import ConfigError\n"
        "from agent_pipeline.pipeline.registry import load_stage\n"
        "here = Path(__file__).parent\n"
        "for folder in (here, here / 'other'):\n"
        "    try:\n        load_stage('nowhere_to_be_found:x', beside=folder)\n"
        "    except ConfigError:\n        pass\n"
        "assert sys.modules['__main__'].here == here\n"
    )

    subprocess.run([sys.executable, "-P", str(program)], check=True, timeout=60)


# --- the context -------------------------------------------------------------------------------------------------


async def test_ask_uses_the_stages_role_or_the_one_it_is_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    """As text or as a value; every call is recorded for its document, stage and cycle."""
    said: list[object] = []

    @stage(role="writer")
    async def summarise(document: Document, context: StageContext) -> Document:
        said.extend(
            (
                await context.ask(f"<document>\n{document.text}\n</document>", Summary),
                await context.ask("It is late.", role="editor"),
                context.options["tone"],
            )
        )
        return document

    stages = [PlannedStage(summarise, options={"tone": "dry"})]
    async with open_run(tmp_path, stages, roles=make_roles(editor={})) as run:
        await run.documents([entry(1)])

        assert said == [Summary(title="Tides"), "It is late.", "dry"]
        assert [(record.role, record.document_id, record.stage, record.cycle) for record in run.world.records] == [
            ("writer", "1", "summarise", 1),
            ("editor", "1", "summarise", 1),
        ]
        assert run.world.bridge.loops_opened == 0


async def test_ask_without_a_role_says_what_to_do(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The stage, and both ways to give it one."""

    async def lost(document: Document, context: StageContext) -> Document:
        return document.with_text(await context.ask("Hi."))

    async with open_run(tmp_path, plan(lost)) as run:
        await run.documents([entry(1)])

        (failure,) = run.events(PipelineFailure)
        assert failure.error == (
            "stage lost asks without a role: give it one with @stage(role=...) or ask(..., role=...)"
        )


async def test_unknown_role_ends_the_run(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every document would meet it."""

    async def typo(document: Document, context: StageContext) -> Document:
        return document.with_text(await context.ask("Hi.", role="writre"))

    async with open_run(tmp_path, plan(typo)) as run:
        await run.documents([entry(1), entry(2)], in_flight=1)

        assert run.stop.reason == "unknown_role"
        assert run.tally.taken == 1
        run.assert_accounted()


async def test_log_leaves_a_word_with_its_values(autojump_clock: MockClock, tmp_path: Path) -> None:
    """For its document and stage."""

    async def chat(document: Document, context: StageContext) -> Document:
        context.log("MEASURED", words=3, parts=["a", None])
        return document

    async with open_run(tmp_path, plan(Stage("chat", chat))) as run:
        await run.documents([entry(1)])

        assert run.events(StageMessage) == [StageMessage("MEASURED", "1", "chat", {"words": 3, "parts": ["a", None]})]


async def test_records_of_documents_at_once_stay_apart(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Both lanes, tools and cycles: each attempt names whom it was made for."""

    async def pause() -> str:
        """Let the others in."""
        return "done"

    async def mixed(document: Document, context: StageContext) -> Document:
        await context.ask("Hi.", role="writer")
        await context.run_agent("writer", "Do it.", tools=[pause])
        return document.with_text(await context.ask("Hi again.", role="writer"))

    async with open_run(tmp_path, plan(mixed), latency=1, in_flight=3) as run:
        await run.documents([entry(number) for number in range(1, 7)])

        for number in range(1, 7):
            own = [record for record in run.world.records if record.document_id == str(number)]
            assert [(record.stage, record.cycle) for record in own] == [("mixed", 1)] * 4
        assert len(run.world.records) == 24
        run.assert_accounted()
