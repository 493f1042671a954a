"""The built-in stages together, on the simulated provider."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridge.world import make_roles
from tests.pipeline.world import entry, open_run
from trio.testing import MockClock

from agent_pipeline.config.role_models import Api
from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import Review, StageMessage
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT
from agent_pipeline.stages import BUILT_IN, name, review, route, transform
from agent_pipeline.stages.prompt import strip_code_fence, with_document

STAGES = [PlannedStage(route), PlannedStage(transform), PlannedStage(review, "transform", 2), PlannedStage(name)]
PROSE = "# Tides\n\nThe moon pulls the sea, and the sea follows.\n"
NOTEBOOK = "In [1]:\nimport math\n\nheight = math.sin(1)\nprint(height)\n\nIn [2]:\ndepth = 2 * height\nprint(depth)\n"


def _roles(*, stream: bool = False) -> dict[str, object]:
    names = ("router", "markdown_cleaner", "notebook_refactor", "reviewer", "namer")
    return make_roles(**{role: {"params": {"stream": stream}} for role in names})


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_prose_and_code_go_to_their_specialists(
    autojump_clock: MockClock, tmp_path: Path, api: Api, *, stream: bool
) -> None:
    """Prose becomes tidied markdown, code a script that compiles; both are named by what they say."""
    async with open_run(tmp_path, STAGES, roles=_roles(stream=stream), api=api, latency=1) as run:
        await run.documents([entry(1, PROSE), entry(2, NOTEBOOK)])

        assert run.outcomes() == {"1": ("succeeded", None), "2": ("succeeded", None)}
        artifacts = {Path(file).suffix: text for file, text in run.artifacts.items()}
        assert "The moon pulls the sea" in artifacts[".md"]
        ast.parse(artifacts[".py"])
        assert "tides.md" in run.artifacts
        assert {message.values["route"] for message in run.events(StageMessage)} == {"markdown", "notebook"}
        roles = {document: [r.role for r in run.world.records if r.document_id == document] for document in "12"}
        assert roles["1"] == ["router", "markdown_cleaner", "reviewer", "namer"]
        assert roles["2"] == ["router", "notebook_refactor", "reviewer", "namer"]
        run.assert_accounted()


async def test_feedback_reaches_the_specialist(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The second cycle's prompt holds the reviewer's words, and only the second's."""
    async with open_run(tmp_path, STAGES, roles=_roles()) as run:
        await run.documents([entry(1, f"{PROSE}\n{DEFECT}\n")])

        assert run.outcomes() == {"1": ("succeeded", None)}
        assert [event.approved for event in run.events(Review)] == [False, True]
        prompts = [str(body["input"]) for body in run.world.simulator.bodies]
        told = ["Please address the reviewer feedback" in prompt for prompt in prompts]
        assert told == [False, False, False, True, False, False]
        assert run.events(Review)[0].issues in prompts[3]
        assert DEFECT not in "".join(run.artifacts.values())


async def test_lasting_defect_is_rejected(autojump_clock: MockClock, tmp_path: Path) -> None:
    """After two reworks; the last text is kept."""
    async with open_run(tmp_path, STAGES, roles=_roles()) as run:
        await run.documents([entry(1, f"{PROSE}\n{LASTING_DEFECT}\n")])

        assert run.outcomes() == {"1": ("failed", "rejected")}
        assert (run.artifacts, len(run.rejected), len(run.events(Review))) == ({}, 1, 3)


def test_built_in_stages_go_by_their_names() -> None:
    """The ones a config file uses."""
    assert list(BUILT_IN) == ["route", "transform", "review", "name"]


# --- around the document -----------------------------------------------------------------------------------------


@given(text=st.text(), source=st.none() | st.text(min_size=1))
def test_prompt_holds_the_document_as_it_is(text: str, source: str | None) -> None:
    """Between marks of their own line, after the task; the source where there is one."""
    prompt = with_document("Tidy this.", Document("1", text, source))

    assert prompt.startswith("Tidy this.\n")
    assert prompt.endswith(f"\n<document>\n{text}\n</document>")
    assert (source is None) or f"\nSource: {source}\n" in prompt


@given(text=st.text(alphabet="ab`~\n #", max_size=40), fence=st.sampled_from(["```", "````", "~~~"]))
def test_enclosing_fence_is_taken_off(text: str, fence: str) -> None:
    """Whatever stands inside, unless the fence itself stands there too."""
    fenced = f"{fence}python\n{text}\n{fence}"

    assert strip_code_fence(fenced) == (fenced if fence in text else text)


@given(text=st.text(alphabet="ab`~\n #", max_size=40))
def test_text_that_is_no_single_fence_is_kept(text: str) -> None:
    """Stripping is for a whole answer in one fence; all else is the model's text."""
    stripped = strip_code_fence(text)

    assert stripped == text or (stripped in text and text.strip()[:3] in {"```", "~~~"})
