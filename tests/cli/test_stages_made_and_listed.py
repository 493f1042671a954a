"""`stage new` and `stage list`: names that can't be used, files left alone, and what is told of stages."""

from pathlib import Path

import pytest
from tests.cli.conftest import PIPELINE, Cli

from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.config.stage_addition import with_stage
from agent_pipeline.errors import ConfigError

OWN = '''
from agent_pipeline import stage

@stage(role="namer", roles=["namer"])
async def own(document, context):
    """Do this.

    And more.
    """
    context.options["least"], context.options.get("most", 3), context.options["least"], context.options["rework_to"]
    return document
'''


def test_a_stage_and_its_test_are_made_and_nothing_else(cli: Cli, project: Path) -> None:
    before = (project / "pipeline.yaml").read_text(encoding="utf-8")

    ran = cli("stage", "new", "find_dates", "--json")

    assert (ran.code, ran.err) == (0, "")
    assert ran.json() == {
        "stage": "find_dates:find_dates",
        "files": ["find_dates.py", "test_find_dates.py"],
        "config": "pipeline.yaml",
        "added": False,
        "line": "- find_dates:find_dates",
        "next": [
            "pytest test_find_dates.py",
            "agent-pipeline check pipeline.yaml",
            "agent-pipeline run pipeline.yaml --offline",
        ],
        "exit_code": 0,
    }
    assert (project / "pipeline.yaml").read_text(encoding="utf-8") == before
    text = (project / "find_dates.py").read_text(encoding="utf-8")
    assert '@stage(role="namer")\nasync def find_dates(' in text  # a role that is there
    assert len(text.splitlines()) <= 40


def test_it_is_made_beside_the_pipeline_file_that_is_named(cli: Cli, project: Path) -> None:
    other = project / "deep"
    other.mkdir()
    for name in ("pipeline.yaml", "roles.yaml"):
        (other / name).write_text((project / name).read_text(encoding="utf-8"), encoding="utf-8")

    ran = cli("stage", "new", "find_dates", "--config", "deep/pipeline.yaml", "--add")

    assert ran.code == 0
    assert (other / "test_find_dates.py").is_file()
    assert [stage.name for stage in load_pipeline_config(other / "pipeline.yaml").stages][-1] == "find_dates:find_dates"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("find-dates", "a name of letters, digits and '_' is wanted, beginning with a letter; 'find_dates' would do"),
        ("2nd", "a name of letters, digits and '_' is wanted, beginning with a letter; 'my_2nd' would do"),
        ("Grüße", "a name of letters, digits and '_' is wanted, beginning with a letter; 'gr_e' would do"),
        ("../up", "a name of letters, digits and '_' is wanted, beginning with a letter; 'up' would do"),
        ("??", "a name of letters, digits and '_' is wanted, beginning with a letter; choose another name"),
        ("class", "it is a word of Python's own; 'class_stage' would do"),
        ("review", "that is a built-in stage; 'review_stage' would do"),
        ("json", "a module of this name is on the Python path, and would be found first; 'json_stage' would do"),
        (
            "pydantic",
            "a module of this name is on the Python path, and would be found first; 'pydantic_stage' would do",
        ),
        ("test_it", "'_' and 'test_' at its beginning have a meaning of their own; 'it' would do"),
        ("taken", "taken.py is there already; 'taken_stage' would do"),
        ("tested", "test_tested.py is there already; 'tested_stage' would do"),
        ("out", "out is there already; 'out_stage' would do"),
    ],
)
def test_a_name_that_can_not_be_used_is_refused_with_one_that_can(
    cli: Cli, project: Path, name: str, problem: str
) -> None:
    (project / "taken.py").write_text("", encoding="utf-8")
    (project / "test_tested.py").write_text("", encoding="utf-8")
    (project / "out").mkdir()
    before = sorted(project.iterdir())

    ran = cli("stage", "new", name)

    assert (ran.code, ran.err) == (3, f"error: no stage can be called {name!r}: {problem}\n")
    assert sorted(project.iterdir()) == before


def test_without_a_pipeline_file_there_is_nothing_to_add_to(cli: Cli, project: Path) -> None:
    (project / "pipeline.yaml").unlink()

    ran = cli("stage", "new", "find_dates")

    assert (ran.code, (project / "find_dates.py").exists()) == (3, False)
    assert "no pipeline file" in ran.err


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("stages: [name]\n", "stages: [name, new:new]\n"),
        ("stages: [ name ]  # why\nlimits: {}\n", "stages: [ name, new:new ]  # why\nlimits: {}\n"),
        ("stages:\n- name\n", "stages:\n- name\n- new:new\n"),
        ("stages:\n  - name", "stages:\n  - name\n  - new:new\n"),
        (
            "stages:\n  - route\n  - name: {}  # last\n  # more\n\nlimits: {}\n",
            "stages:\n  - route\n  - name: {}  # last\n  - new:new\n  # more\n\nlimits: {}\n",
        ),
        (
            "stages:\n    - route\n    - review:\n        rework_to: route\n\n# end\n",
            "stages:\n    - route\n    - review:\n        rework_to: route\n    - new:new\n\n# end\n",
        ),
        ("stages: [route, {review: {rework_to: route}}]\n", "stages: [route, {review: {rework_to: route}}, new:new]\n"),
        ("stages:\r\n  - name\r\n", "stages:\r\n  - name\r\n  - new:new\r\n"),
        ('stages: ["a]b:c"]\n', None),
    ],
)
def test_a_stage_is_added_and_all_else_stays(tmp_path: Path, stages: str, expected: str | None) -> None:
    """People write lists in many ways, and comments in between."""
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(f"name: x  # mine\n{stages}".encode())

    changed = with_stage(path, "new:new")

    assert expected is None or changed == f"name: x  # mine\n{expected}"


def test_json_is_added_to_as_well(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.json"
    path.write_text('{"stages": [\n  "route",\n  "name"\n], "x": [1]}', encoding="utf-8")

    assert with_stage(path, "new:new") == '{"stages": [\n  "route",\n  "name", "new:new"\n], "x": [1]}'


def test_a_list_that_can_not_be_added_to_is_left_alone(cli: Cli, project: Path) -> None:
    """The line is told, and no file is made."""
    (project / "pipeline.yaml").write_text(PIPELINE.replace("[name]", '["name"\n ,]'), encoding="utf-8")

    with pytest.raises(ConfigError, match="write this line into it: - new:new"):
        with_stage(project / "pipeline.yaml", "new:new")
    ran = cli("stage", "new", "fresh", "--add")

    assert (ran.code, (project / "fresh.py").exists()) == (3, False)


def test_the_stages_of_a_pipeline_come_first_then_the_others(cli: Cli, project: Path) -> None:
    (project / "mine.py").write_text(OWN, encoding="utf-8")
    stages = "[route, {'mine:own': {least: 2, rework_to: route}}]"
    (project / "pipeline.yaml").write_text(PIPELINE.replace("[name]", stages), encoding="utf-8")

    ran = cli("stage", "list", "--json")
    told = ran.json()["stages"]

    assert ran.code == 0
    assert isinstance(told, list)
    assert [(stage["name"], stage["position"]) for stage in told] == [
        ("route", 1),
        ("mine:own", 2),
        ("transform", None),
        ("review", None),
        ("name", None),
    ]
    assert told[1] == {
        "name": "mine:own",
        "built_in": False,
        "position": 2,
        "roles": ["namer"],
        "options": {"least": 2, "rework_to": "route"},
        "known_options": ["least", "most"],
        "place": f"{project}/mine.py:5",
        "summary": "Do this.",
    }
    assert told[0]["roles"] == ["router"]
    shown = cli("stage", "list").out
    assert "  2. mine:own: Do this.\n     roles namer; options least: 2, rework_to: route; reads also most\n" in shown
    assert "     mine.py:5\n" in shown


def test_without_a_pipeline_the_built_in_ones_are_told(cli: Cli, project: Path) -> None:
    (project / "pipeline.yaml").unlink()

    ran = cli("stage", "list")

    assert ran.code == 0
    assert ran.out.startswith("built in:\n  - route: Set the field `route`")


def test_a_stage_that_is_not_there_is_named(cli: Cli, project: Path) -> None:
    (project / "pipeline.yaml").write_text(PIPELINE.replace("[name]", "['mine:own']"), encoding="utf-8")

    ran = cli("stage", "list")

    assert (ran.code, "no module 'mine'" in ran.err) == (3, True)


def test_what_a_stage_says_of_itself_moves_no_cursor(cli: Cli, project: Path) -> None:
    (project / "mine.py").write_text(OWN.replace("Do this.", "Do \x1b[2J\u202ethis."), encoding="utf-8")
    (project / "pipeline.yaml").write_text(PIPELINE.replace("[name]", "['mine:own']"), encoding="utf-8")

    ran = cli("stage", "list")

    assert "mine:own: Do this.\n" in ran.out
