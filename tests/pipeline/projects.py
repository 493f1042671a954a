"""A user's project of several files: its stages loaded as a run loads them, also after an edit."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

from agent_pipeline.config.roles import RuntimeConfig, parse_runtime_config
from agent_pipeline.pipeline.identity import stage_identity
from agent_pipeline.pipeline.registry import load_stage
from agent_pipeline.pipeline.stage import PlannedStage

STAGES = ("write", "judge", "ask", "late", "plain")
"""The stages of the project, all in one file."""

FILES = {
    "stages.py": '''
        """The stages."""
        import helpers
        import prompts
        import pydantic
        from desk import desk
        from helpers import counted
        from models import Note, Verdict
        from prompts import JUDGE

        from agent_pipeline import Document, StageContext, stage
        from agent_pipeline.stages.prompt import strip_code_fence

        LIMIT = 3


        @stage(role="writer")
        async def write(document: Document, context: StageContext) -> Document:
            """Write a note."""
            text = helpers.clean(document.text)
            note = await context.ask(prompts.WRITE.format(text), Note)
            return document.with_text(strip_code_fence(note.summary))


        @stage(role="judge")
        @counted(times=2)
        async def judge(document: Document, context: StageContext) -> Document:
            verdict = await context.ask(JUDGE + document.text, Verdict)
            context.review(approved=verdict.points > LIMIT)
            return document


        @stage
        async def ask(document: Document, context: StageContext) -> Document:
            return document.with_text(await context.run_agent(desk, document.text))


        @stage(roles=("writer",))
        async def late(document: Document, context: StageContext) -> Document:
            from texts import parting

            return document.with_text(document.text + parting.goodbye())


        def unused() -> int:
            return 1


        @stage
        async def plain(document: Document, context: StageContext) -> Document:
            return document
        ''',
    "prompts.py": """
        WRITE = "Write about {}."
        JUDGE = "Judge this: "
        UNUSED = "Unused"
        """,
    "helpers.py": '''
        import functools
        import re

        BLANKS = re.compile("[ ]+")
        SHORTER = functools.partial(re.sub, "a")


        def clean(text):
            return SHORTER("", _squeeze(text))


        def _squeeze(text):
            return Squeezer(" ").squeeze(text)


        class Squeezer:
            """Squeezes."""

            mark = "-"

            def __init__(self, by):
                self.by = by

            def squeeze(self, text):
                return BLANKS.sub(self.by, text)


        def counted(times):
            def around(function):
                @functools.wraps(function)
                async def inner(document, context):
                    for _ in range(times):
                        document = await function(document, context)
                    return document

                return inner

            return around
        ''',
    "models.py": '''
        from enum import Enum
        from typing import Annotated

        from pydantic import AfterValidator, BaseModel, Field, field_validator


        class Tone(Enum):
            dry = "dry"
            warm = "warm"


        def tidy(value):
            return value.strip()


        class Note(BaseModel):
            """A note."""

            title: Annotated[str, AfterValidator(tidy)]
            summary: str = Field(max_length=100)
            tone: Tone = Tone.dry

            @field_validator("summary")
            @classmethod
            def _whole(cls, value):
                return value + "."


        class Verdict(BaseModel):
            points: int
            reasons: "list[Reason]" = []


        class Reason(BaseModel):
            text: str
        ''',
    "desk.py": '''
        import agents


        @agents.function_tool
        def count_words(text: str) -> int:
            """Count the words of a text."""
            return words(text)


        def words(text):
            return len(text.split())


        editor = agents.Agent(name="editor", instructions="You edit.", model="helper", tools=[count_words])
        desk = agents.Agent(name="desk", instructions="Hand over.", model="front", handoffs=[editor])
        ''',
    "texts/__init__.py": "",
    "texts/parting.py": """
        from .phrases import BYE


        def goodbye():
            return BYE
        """,
    "texts/phrases.py": """
        BYE = "Goodbye."


        def again():
            from . import parting

            return parting
        """,
}

NAMES = ("writer", "judge", "front", "helper", "other")
"""The roles of the project; no stage knows the last."""


def make_project(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    """Write a project's files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return folder


def runtime(**changes: Mapping[str, object]) -> RuntimeConfig:
    """Return the project's roles, some of them changed: `writer={"model": "large"}`."""
    role = {"provider": "openai", "model": "small", "params": {"max_tokens": 10}}
    roles = {name: {**role, "instructions": f"You {name}.", **changes.get(name, {})} for name in NAMES}
    providers = {"openai": {"env_key": "OPENAI_API_KEY"}, "local": {"base_url": "http://127.0.0.1:1/v1"}}
    return parse_runtime_config({"project": "notes", "env": "test", "providers": providers, "roles": roles})


def identities(folder: Path, roles: RuntimeConfig | None = None, stages: Iterable[str] = STAGES) -> dict[str, str]:
    """Load stages of a project's `stages.py` and return the identity of each."""
    loaded = {name: load_stage(f"stages:{name}", beside=folder) for name in stages}
    return {name: stage_identity(PlannedStage(one), roles or runtime()) for name, one in loaded.items()}


def main(folder: str, *stages: str) -> None:
    """Print the identities, for a process of its own."""
    sys.stdout.write(json.dumps(identities(Path(folder), stages=stages)))


if __name__ == "__main__":
    main(*sys.argv[1:])
