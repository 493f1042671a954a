"""The built-in stages, each an ordinary one: the pattern to copy."""

from agent_pipeline.stages.name import name
from agent_pipeline.stages.review import review
from agent_pipeline.stages.route import route
from agent_pipeline.stages.transform import transform

BUILT_IN = {built_in.name: built_in for built_in in (route, transform, review, name)}
"""By the name a config file uses."""

__all__ = ["BUILT_IN", "name", "review", "route", "transform"]
