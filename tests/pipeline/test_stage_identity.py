"""A stage's identity: which edits of a project change it, and which do not."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.projects import FILES, STAGES, identities, make_project, runtime

from agent_pipeline.config.roles import RoleDefaultsConfig
from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.pipeline.registry import load_stage
from agent_pipeline.pipeline.stage import PlannedStage, Stage, stage
from agent_pipeline.stages import BUILT_IN
from agent_pipeline.stages import prompt as built_in_prompts

ALL = set(STAGES)


@pytest.fixture(autouse=True)
def forgotten_imports(tmp_path: Path) -> Iterator[None]:
    """Forget what was imported from the test's projects."""
    path, modules = [*sys.path], {*sys.modules}
    yield
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def changed_by(tmp_path: Path, edits: list[tuple[str, str, str]]) -> set[str]:
    """Return the stages that have another identity after an edit of a copy of the project."""
    before = identities(make_project(tmp_path / "before"))
    files = dict(FILES)
    for name, old, new in edits:
        assert old in files[name]
        files[name] = files[name].replace(old, new)
    after = identities(make_project(tmp_path / "after", files))
    return {name for name in STAGES if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        # prompts and constants
        ("prompts.py", "Write about", "Please write about", {"write"}),
        ("prompts.py", "Judge this", "Please judge this", {"judge"}),
        ("prompts.py", "Unused", "Still unused", set()),
        ("stages.py", "LIMIT = 3", "LIMIT = 4", {"judge"}),
        # the stage's own code, and others of the same file
        ("stages.py", "> LIMIT", ">= LIMIT", {"judge"}),
        ("stages.py", "return 1", "return 2", set()),
        ("stages.py", '"""The stages."""', '"""The stages, told."""', set()),
        ("stages.py", "text = helpers", "# A remark.\n\n            text = helpers", set()),
        ("stages.py", 'role="judge"', 'role="front"', {"judge"}),
        # helpers, theirs, their classes, decorators
        ("helpers.py", 'SHORTER("", _s', 'SHORTER("b", _s', {"write"}),
        ("helpers.py", "re.sub, ", "re.subn, ", {"write"}),
        ("helpers.py", '"[ ]+"', '"[ ]*"', {"write"}),
        ("helpers.py", "BLANKS.sub(", "BLANKS.subn(", {"write"}),
        ("helpers.py", 'mark = "-"', 'mark = "+"', {"write"}),
        ("helpers.py", "self.by = by", "self.by = by * 2", {"write"}),
        ("helpers.py", "for _ in range(times)", "for _ in range(times + 1)", {"judge"}),
        ("stages.py", "times=2", "times=3", {"judge"}),
        # models
        ("models.py", "max_length=100", "max_length=90", {"write"}),
        ("models.py", "A note.", "A short note.", {"write"}),
        ("models.py", "value.strip()", "value.rstrip()", {"write"}),
        ("models.py", 'value + "."', 'value + "!"', {"write"}),
        ("models.py", 'warm = "warm"', 'warm = "hot"', {"write"}),
        ("models.py", "= Tone.dry", "= Tone.warm", {"write"}),
        ("models.py", "points: int", "points: float", {"judge"}),
        ("models.py", "text: str", "text: str | None", {"judge"}),
        # agents and tools
        ("desk.py", "You edit.", "You edit well.", {"ask"}),
        ("desk.py", "Hand over.", "Hand it over.", {"ask"}),
        ("desk.py", "len(text.split())", "len(text.split()) + 1", {"ask"}),
        ("desk.py", "return words(text)", "return words(text) * 2", {"ask"}),
        ("desk.py", "Count the words", "Tell the number of words", {"ask"}),
        ("desk.py", "text: str", "text: str, least: int = 0", {"ask"}),
        ("desk.py", "handoffs=[editor]", "handoffs=[]", {"ask"}),
        ("desk.py", 'model="helper"', 'model="other"', {"ask"}),
        # modules imported when the stage runs
        ("texts/parting.py", "return BYE", "return BYE * 2", {"late"}),
        ("texts/phrases.py", "Goodbye.", "See you.", {"late"}),
    ],
)
def test_an_edit_changes_the_stages_that_reach_it(
    tmp_path: Path, file: str, old: str, new: str, changed: set[str]
) -> None:
    """Another stage's result must be used again, this one's must not."""
    assert changed_by(tmp_path, [(file, old, new)]) == changed


def test_order_of_definitions_does_not_count(tmp_path: Path) -> None:
    """Tidying a file must not cost a run."""
    parts = FILES["stages.py"].split("\n\n\n")
    files = {**FILES, "stages.py": "\n\n\n".join([parts[0], *reversed(parts[1:])])}

    assert identities(make_project(tmp_path / "a")) == identities(make_project(tmp_path / "b", files))


def test_what_was_imported_already_does_not_count(tmp_path: Path) -> None:
    """A module that a stage imports when it runs, and what is within a package that is used as a value."""
    whole = """
        import texts

        from agent_pipeline import Document, StageContext, stage


        @stage(role="writer")
        async def whole(document: Document, context: StageContext) -> Document:
            return document.with_text(getattr(texts, context.options["text"]))
        """
    files = {**FILES, "whole.py": whole, "texts/__init__.py": "HELLO = 'Hello.'"}

    def of(folder: str, hello: str, *, imported: bool) -> tuple[str, str]:
        make_project(tmp_path / folder, {**files, "texts/__init__.py": f"HELLO = {hello!r}"})
        late = load_stage("stages:late", beside=tmp_path / folder)
        value = load_stage("whole:whole", beside=tmp_path / folder)
        if imported:
            importlib.import_module("texts.parting")
        return _identity(late), _identity(value)

    before = of("before", "Hello.", imported=False)

    assert of("after", "Hello.", imported=True) == before
    _late, value = of("edited", "Hullo.", imported=False)
    assert value != before[1]


def test_an_installed_stage_has_its_package_as_its_own() -> None:
    """Pipelines may be shipped as packages; other packages are as foreign to them as to anybody."""

    def of(package: str, helped: int) -> str:
        helpers: dict[str, object] = {"__name__": f"{package}.helpers", "__file__": f"/x/site-packages/{package}/h.py"}
        exec(f"def g(): return {helped}", helpers)  # noqa: S102
        scope = {"__name__": "mine.stages", "__file__": "/x/site-packages/mine/stages.py", "g": helpers["g"]}
        exec("async def f(document, context): return g()", scope)  # noqa: S102
        function: Any = scope["f"]
        return _identity(stage(function))

    assert of("mine", 1) != of("mine", 2)
    assert of("others", 1) == of("others", 2)


def test_edit_of_a_built_in_prompt_changes_the_stages_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in stages are ordinary ones, and their prompts are what a new version changes."""

    def of_all() -> dict[str, str]:
        return {name: stage_identity(PlannedStage(one), runtime()) for name, one in BUILT_IN.items()}

    before = of_all()
    for function, users in (("with_document", {*BUILT_IN}), ("strip_code_fence", {"transform"})):
        code = compile(f"def {function}(*a): return ''", built_in_prompts.__file__, "exec").co_consts[0]
        with monkeypatch.context() as patch:
            patch.setattr(getattr(built_in_prompts, function), "__code__", code)
            after = of_all()
        assert {name for name in before if before[name] != after[name]} == users
    assert of_all() == before


def test_code_of_this_package_and_of_others_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the library, or of a dependency, must not throw away what was paid for."""
    before = stage_identity(PlannedStage(BUILT_IN["transform"]), runtime())
    code = compile("def with_text(self, text): return self", "", "exec").co_consts[0]
    monkeypatch.setattr(Document.with_text, "__code__", code)

    assert stage_identity(PlannedStage(BUILT_IN["transform"]), runtime()) == before


# --- roles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "changed"),
    [
        ("writer", {"write", "late", "plain"}),
        ("judge", {"judge", "plain"}),
        ("front", {"ask", "plain"}),
        ("helper", {"ask", "plain"}),
        ("other", {"plain"}),
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        {"model": "large"},
        {"provider": "local"},
        {"params": {"max_tokens": 11}},
        {"instructions": "You do otherwise."},
        {"mode": "other"},
    ],
)
def test_a_role_counts_for_the_stages_that_use_it(
    tmp_path: Path, role: str, change: dict[str, object], changed: set[str]
) -> None:
    """By its decorator, a constant in its code or an agent's model; a stage that names none may use any."""
    folder = make_project(tmp_path)

    before, after = identities(folder), identities(folder, runtime(**{role: change}))

    assert {name for name in STAGES if before[name] != after[name]} == changed


def test_where_and_how_long_a_role_is_asked_does_not_count(tmp_path: Path) -> None:
    """The same model behind another address gives the same answers; a budget is no part of an answer."""
    folder, roles = make_project(tmp_path), runtime()
    providers = {
        "openai": roles.providers["openai"].model_copy(
            update={"base_url": "http://127.0.0.1:2/v1", "env_key": "OTHER_KEY"}
        )
    }
    moved = roles.model_copy(
        update={
            "providers": {**roles.providers, **providers},
            "roles": {name: role.model_copy(update={"budget_tokens": 5}) for name, role in roles.roles.items()},
        }
    )

    assert identities(folder, roles) == identities(folder, moved)


def test_a_fallback_counts_for_the_stages_of_its_role(tmp_path: Path) -> None:
    """It may be the one that answers; its instructions are never used."""
    folder = make_project(tmp_path)

    def changed(**roles: dict[str, object]) -> set[str]:
        chain = {"writer": {"fallback": "front"}, "front": {"fallback": "other"}}
        merged = {name: {**chain.get(name, {}), **roles.get(name, {})} for name in (*chain, *roles)}
        before, after = identities(folder, runtime(**chain)), identities(folder, runtime(**merged))
        return {name for name in STAGES if before[name] != after[name]}

    assert changed(other={"model": "large"}) == {"write", "late", "ask", "plain"}
    assert changed(other={"instructions": "You do otherwise."}) == {"plain"}
    assert changed(writer={"fallback": "helper"}) == {"write", "late", "plain"}
    assert changed(front={"fallback": None}) == {"write", "late", "ask", "plain"}


def test_a_fallback_that_does_not_exist_is_no_error() -> None:
    """Roles built by hand are checked when they are used."""
    roles = runtime()
    lost = roles.model_copy(
        update={"roles": {**roles.roles, "writer": roles.roles["writer"].model_copy(update={"fallback": "nobody"})}}
    )

    assert len(stage_identity(PlannedStage(stage(role="writer")(_plain)), lost)) == 64


async def _with_option(document: Document, context: StageContext) -> Document:
    return document.with_text(await context.ask(document.text, role=str(context.options["who"])))


def _identity(one: Stage, **planned: Any) -> str:  # noqa: ANN401
    return stage_identity(PlannedStage(one, **planned), runtime())


def test_a_role_named_by_an_option_counts() -> None:
    """The config file may say who writes."""
    planned = PlannedStage(stage(role="judge")(_with_option), options={"who": {"first": ["writer"]}})

    before = stage_identity(planned, runtime())

    assert stage_identity(planned, runtime(writer={"model": "large"})) != before
    assert stage_identity(planned, runtime(other={"model": "large"})) == before


def test_defaults_count_where_they_are_used() -> None:
    """By a role the file does not name, and by a stage that may use any."""
    defaults = {name: RoleDefaultsConfig(provider="openai", model=name) for name in ("small", "large")}
    small, large = (runtime().model_copy(update={"defaults": one}) for one in defaults.values())
    some, none, undefined = (stage(role="writer")(_plain), stage(_plain), stage(role="undefined")(_plain))

    for one, counts in ((some, False), (none, True), (undefined, True)):
        before, after = (stage_identity(PlannedStage(one), roles) for roles in (small, large))
        assert (before != after) == counts


def test_a_role_counts_also_where_it_is_not_among_the_roles() -> None:
    """A stage may be made without the decorator."""
    planned = PlannedStage(Stage("by hand", _plain, role="writer"))

    before = stage_identity(planned, runtime())

    assert stage_identity(planned, runtime(writer={"model": "large"})) != before
    assert stage_identity(planned, runtime(other={"model": "large"})) == before


def test_a_role_that_does_not_exist_is_no_error() -> None:
    """Whoever runs the stage says so, better than a hash could."""
    assert len(_identity(stage(role="undefined")(_plain))) == 64


# --- options, names, plans ---------------------------------------------------------------------------------------


async def _plain(document: Document, context: StageContext) -> Document:
    return document


def test_options_and_name_count() -> None:
    """A stage sees both in its context; in which order the config file gives options it must not depend on."""
    given = {"a": 1, "b": [{"c": 2, "d": 3}]}
    same = {"b": [{"d": 3, "c": 2}], "a": 1}
    before = _identity(stage(_plain), options=given)

    assert _identity(stage(_plain), options=same) == before
    for other in ({"a": 1}, {**given, "a": True}, {**given, "a": "1"}, {**given, "b": [{"c": 2, "d": 4}]}):
        assert _identity(stage(_plain), options=other) != before
    assert _identity(stage(name="other")(_plain), options=given) != before


def test_a_role_of_its_own_is_not_the_same_as_one_it_may_use() -> None:
    """`context.ask` uses the one and not the other."""
    assert _identity(stage(role="writer", roles=["judge"])(_plain)) != _identity(
        stage(role="judge", roles=["writer"])(_plain)
    )


def test_rework_counts_for_the_plan_and_not_for_the_stage() -> None:
    """It decides which way a document goes, not what a stage makes of it."""
    names = ("first", "second")
    plain = [PlannedStage(stage(name=name)(_plain)) for name in names]
    plans = [
        plain,
        plain[::-1],
        plain[:1],
        [plain[0], replace(plain[1], rework_to="first", max_reworks=1)],
        [plain[0], replace(plain[1], rework_to="first", max_reworks=2)],
        [plain[0], replace(plain[1], rework_to="second", max_reworks=1)],
        [plain[0], replace(plain[1], options={"a": 1})],
    ]

    of_stages = [{one.stage.name: stage_identity(one, runtime()) for one in plan} for plan in plans]
    of_plans = [plan_identity(plan, one) for plan, one in zip(plans, of_stages, strict=True)]

    assert len({one["second"] for one in of_stages if "second" in one}) == 2
    assert len(set(of_plans)) == len(plans)
    assert plan_identity(plans[0], of_stages[0]) == of_plans[0]
    assert all(len(one) == 64 for one in of_plans)
