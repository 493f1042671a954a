"""Whether a worker would make of the documents what its driver would; where not, what is different there."""

import hashlib
from collections.abc import Mapping

from agent_pipeline.engines.messages import Ready, WorkerPlan
from agent_pipeline.errors import WorkerMismatchError

_SAME_PACKAGE = "install the same package there, then go on"
SAME_STAGES = "install the same code of the stages there, then go on"
"""What to do where a worker's stages are not the driver's."""


def text_sha256(text: str) -> str:
    """Return the hash by which a worker knows that a text is the one that was sent."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_plan(plan: WorkerPlan, version: str) -> None:
    """See, in a worker of this version of the package, that it can work by the plan as the driver meant it.

    Raises:
        WorkerMismatchError: another version made it, or a text is not the one that was sent.
    """
    if plan.version != version:
        raise WorkerMismatchError(f"{_other_version(version, plan.version)}; {_SAME_PACKAGE}")
    for what, text, sha256 in (
        ("pipeline", plan.pipeline_text, plan.pipeline_sha256),
        ("roles", plan.roles_text, plan.roles_sha256),
    ):
        if text_sha256(text) != sha256:
            raise WorkerMismatchError(f"the text of the {what} file did not arrive as it was sent; go on with the run")


def mismatch(plan: WorkerPlan, worker: int, ready: Ready) -> WorkerMismatchError | None:
    """Return what a driver says to a worker that is ready to do something else; None where it would do the same."""
    if ready.version != plan.version:
        problem, todo = f"has {_other_version(ready.version, plan.version)}", _SAME_PACKAGE
    elif ready.plan_sha256 != plan.plan_sha256:
        problem, todo = f"finds {_other_stages(ready.fingerprints, plan.fingerprints)}", SAME_STAGES
    else:
        return None
    return WorkerMismatchError(f"worker {worker} on {ready.host} {problem}; {todo}")


def _other_version(there: str, here: str) -> str:
    return f"another version of agent-pipeline: {there}, not the driver's {here}"


def _other_stages(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    differing = [name for name in here if there.get(name) != here[name]] + [name for name in there if name not in here]
    if not differing:
        return "another order of the stages than the driver"
    return f"other code, options or roles of {', '.join(differing)} than the driver"
