"""Every code that a document or a run can end with has words and a way on, and the commands in them exist."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from agent_pipeline import errors
from agent_pipeline.cli.app import app
from agent_pipeline.runs.advice import ADVICE, Advice, advice_on

OF_BATCHES = re.compile(r"batch|item|queue|middleware|call_failed|^error$")
"""Codes of items and jobs: no document ends with one."""


def codes(kind: type[errors.AgentPipelineError]) -> Iterator[str]:
    yield kind.code
    for one in kind.__subclasses__():
        if one.__module__.startswith("agent_pipeline."):
            yield from codes(one)


def test_every_code_has_its_advice() -> None:
    """A puzzled user looks the code up; nothing is no answer."""
    missing = {code for code in codes(errors.AgentPipelineError) if not OF_BATCHES.search(code)} - ADVICE.keys()

    assert not missing
    assert {code for code in ADVICE if OF_BATCHES.search(code)} == set()


def test_no_advice_is_for_a_code_that_is_not_there() -> None:
    """But for that of the ledger's own."""
    assert ADVICE.keys() - set(codes(errors.AgentPipelineError)) == {"interrupted"}


def test_a_stage_s_own_code_is_answered_too() -> None:
    """Programs may give errors codes of their own."""
    assert advice_on("mine").todo


def test_every_command_that_is_advised_can_be_typed() -> None:
    """With flags that it has."""
    root = get_command(app)

    for code, advice in ADVICE.items():
        assert advice.commands, code
        for command in advice.commands:
            program, name, *rest = shlex.split(command.format(run="RUN", doc="DOC", config="CONFIG"))
            known: Any = root
            for word in [name, *rest[:1]] if name == "roles" else [name]:
                known = known.commands[word]
            flags = {flag for param in known.params for flag in param.opts}
            assert program == "agent-pipeline"
            assert {word for word in rest if word.startswith("--")} <= flags, command


def test_sentences_are_whole_and_short() -> None:
    """They stand in the middle of a line."""
    for advice in ADVICE.values():
        assert isinstance(advice, Advice)
        for sentence in (advice.meaning, advice.todo):
            assert 3 < len(sentence) < 130
            assert not sentence.endswith(".")
            assert sentence[0].islower()
