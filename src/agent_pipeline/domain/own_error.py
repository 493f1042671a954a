"""Which error of ours is in what was raised, however it was wrapped."""

from agent_pipeline.errors import AgentPipelineError


def own_error_in(exc: BaseException) -> AgentPipelineError | None:
    """Return the error of ours in `exc`: itself, a cause, or a member of a group; one that ends the run comes first."""
    found: list[AgentPipelineError] = []
    seen: set[int] = set()
    todo: list[BaseException] = [exc]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, AgentPipelineError):
            found.append(one)
            continue
        if one.__cause__ is not None:
            todo.append(one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
    return next((error for error in found if error.disposition == "fail_run"), found[0] if found else None)
