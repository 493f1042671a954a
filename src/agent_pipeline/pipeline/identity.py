"""What a result was made by, as a hash: of one stage, and of a whole plan.

A stage's result may be used again only where its input and this are the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from agent_pipeline.config.roles import RuntimeConfig, fallbacks_of, resolve_role
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import LLMHubRuntimeError
from agent_pipeline.pipeline.code_identity import CodeReader
from agent_pipeline.pipeline.own_code import OwnCode
from agent_pipeline.pipeline.stage import PlannedStage

_FORMAT = 1
"""Goes up when the same stage would get another hash."""


def stage_identity(planned: PlannedStage, runtime: RuntimeConfig) -> str:
    """Hash what determines a stage's result besides its document: its code, its options, its roles.

    Code is the function and all of the project's own that it reaches. Roles are those the stage declares and those
    whose names stand in its code or its options; where there are none, all. Raises nothing for what can't be read: that
    counts by its type.

    Returns:
        64 hexadecimal digits, the same in every process that finds the same.
    """
    stage = planned.stage
    reader = CodeReader(OwnCode(stage.function), runtime.roles)
    code = reader.read(stage.function, _unordered(dict(planned.options)))
    names = {*stage.roles, *reader.found} | ({stage.role} if stage.role is not None else set())
    roles = {name: _role(name, runtime) for name in names or runtime.roles}
    if not names and runtime.defaults is not None:
        roles[""] = runtime.defaults.model_dump(mode="json")
    return _hash([_FORMAT, stage.name, stage.role, code.hex(), roles])


def plan_identity(stages: Sequence[PlannedStage], identities: Mapping[str, str]) -> str:
    """Hash what determines the way of a document: all stages in order, and where each may send it back to.

    Args:
        stages: in order.
        identities: of each, by its name.
    """
    return _hash(
        [
            [planned.stage.name, identities[planned.stage.name], planned.rework_to, planned.max_reworks]
            for planned in stages
        ]
    )


def _role(name: str, runtime: RuntimeConfig) -> object:
    """Return what a role asks with, its fallbacks included; where it is asked, and for how long, changes no answer."""
    try:
        call, *others = (resolve_role(runtime, one) for one in (name, *fallbacks_of(runtime, name)))
    except LLMHubRuntimeError as exc:
        return exc.code
    role = runtime.roles.get(name)
    instructions = None if role is None else role.instructions
    return [call.model_dump(mode="json"), instructions, *(other.model_dump(mode="json") for other in others)]


def _unordered(value: JsonValue) -> object:
    """Return options such that the order of their keys does not count."""
    if isinstance(value, dict):
        return tuple((key, _unordered(value[key])) for key in sorted(value))
    return tuple(map(_unordered, value)) if isinstance(value, list) else value


def _hash(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
