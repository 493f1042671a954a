"""A worker works as its driver would, or is told what is different where it is."""

from dataclasses import replace

import pytest
from tests.engines.pretended import PLAN

from agent_pipeline.engines.agreement import check_plan, mismatch, text_sha256
from agent_pipeline.engines.messages import Ready
from agent_pipeline.errors import WorkerMismatchError

SENT = replace(
    PLAN,
    pipeline_text="name: é\n",
    pipeline_sha256=text_sha256("name: é\n"),
    roles_text="",
    roles_sha256=text_sha256(""),
    fingerprints={"first": "f", "second": "s"},
)
READY = Ready(SENT.version, SENT.plan_sha256, 7, "there", SENT.fingerprints)


def test_a_plan_that_arrived_as_it_was_sent_is_taken() -> None:
    """Nothing is said."""
    check_plan(SENT, SENT.version)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pipeline_text": "name: e\n"}, "the text of the pipeline file did not arrive as it was sent"),
        ({"roles_text": " "}, "the text of the roles file did not arrive as it was sent"),
        ({"version": "0.9"}, "another version of agent-pipeline: 1.0, not the driver's 0.9; install the same package"),
    ],
)
def test_a_worker_refuses_a_plan_it_would_understand_otherwise(changes: dict[str, str], said: str) -> None:
    """Before it reads the texts: another version may take offence at what is right, and say so of the file."""
    with pytest.raises(WorkerMismatchError, match=said):
        check_plan(replace(SENT, **changes), "1.0")  # type: ignore[arg-type]


def test_a_worker_that_would_do_the_same_is_welcome() -> None:
    """Nothing is said; of a plan whose code can't be read, neither."""
    assert mismatch(SENT, 1, READY) is None
    assert mismatch(replace(SENT, plan_sha256=None), 1, replace(READY, plan_sha256=None)) is None


@pytest.mark.parametrize(
    ("ready", "said"),
    [
        (
            replace(READY, version="2", plan_sha256="q", fingerprints={}),
            (
                "worker 3 on there has another version of agent-pipeline: 2, not the driver's 1.0; "
                "install the same package there, then go on"
            ),
        ),
        (
            replace(READY, plan_sha256="q", fingerprints={"first": "f", "second": "other", "third": "t"}),
            (
                "worker 3 on there finds other code, options or roles of second, third than the driver; "
                "install the same code of the stages there, then go on"
            ),
        ),
        (
            replace(READY, plan_sha256="q"),
            (
                "worker 3 on there finds another order of the stages than the driver; "
                "install the same code of the stages there, then go on"
            ),
        ),
    ],
)
def test_a_worker_that_would_do_otherwise_is_told_what(ready: Ready, said: str) -> None:
    """Who reads it has to find the machine and the stage."""
    refusal = mismatch(SENT, 3, ready)

    assert refusal is not None
    assert str(refusal) == said
