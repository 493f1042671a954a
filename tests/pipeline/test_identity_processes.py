"""A stage's identity in other processes: a run is resumed in another one, maybe elsewhere."""

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.pipeline.projects import FILES, STAGES, make_project

WITHOUT_AGENTS = tuple(name for name in STAGES if name != "ask")
ROOT = Path(__file__).parents[2]

_STATEFUL = {
    "stages.py": FILES["stages.py"].replace("from desk import desk", "desk = 'front'\n        import texts")
    + '''
        from pathlib import Path

        HERE = Path(__file__).parent
        WORDS = {"tide", "moon", "sea"}
        KINDS = {helpers.Squeezer, prompts.__class__, helpers.clean, *map(str, range(20))}


        @stage
        async def chance(document: Document, context: StageContext) -> Document:
            """What differs from process to process, and from place to place."""
            named = document.text in {"x", "y", "z"} and [WORDS, KINDS, HERE / "data.json", __file__, str(HERE), texts]
            return document.with_fields(named=str(named))
        '''
}


def in_processes(ways: Sequence[tuple[Path, Sequence[str]]]) -> list[dict[str, str]]:
    """Return the identities that processes find, each with another hash seed, all at once."""
    path = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.projects", str(folder), *stages],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
        )
        for seed, (folder, stages) in enumerate(ways, start=1)
    ]
    return [json.loads(one.communicate(timeout=100)[0]) for one in started]


def without_sources(folder: Path) -> Path:
    """Leave only what was compiled of a project."""
    assert compileall.compile_dir(folder, legacy=True, quiet=1)
    for source in folder.rglob("*.py"):
        source.unlink()
    return folder


def test_another_process_in_another_folder_finds_the_same(tmp_path: Path) -> None:
    """Another seed of hashes, another order of imports, another path, and no sources at all."""
    files = {**FILES, **_STATEFUL}
    names = (*WITHOUT_AGENTS, "chance")
    one = make_project(tmp_path / "one", files)
    other = make_project(tmp_path / "elsewhere" / "a copy", files)
    compiled = without_sources(make_project(tmp_path / "compiled", files))

    first, *others = in_processes([(one, names), (other, names[::-1]), (compiled, names)])

    assert set(first) == set(names)
    assert len(set(first.values())) == len(names)
    assert [found for found in others if found != first] == []


@pytest.mark.slow
def test_agents_and_their_tools_are_the_same_in_another_process(tmp_path: Path) -> None:
    """The SDK's objects hold locks, schemas and closures of their own."""
    one = make_project(tmp_path / "one")
    other = make_project(tmp_path / "other")

    first, second = in_processes([(one, STAGES), (other, STAGES[::-1])])

    assert first == second
