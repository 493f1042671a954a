"""The package's root gives its names lazily."""

import agent_pipeline
from agent_pipeline import AgentPipelineError, Pipeline, errors, stage
from agent_pipeline.pipeline.stage import Stage


def test_stage_is_the_decorator_though_a_package_is_called_stages() -> None:
    """The first line of every stage a user writes."""
    import agent_pipeline.stages  # noqa: PLC0415 - what could come between

    @stage
    async def shout(
        document: agent_pipeline.Document, _context: agent_pipeline.StageContext
    ) -> agent_pipeline.Document:
        return document.with_text(document.text.upper())

    assert isinstance(shout, Stage)
    assert agent_pipeline.stages.__name__ == "agent_pipeline.stages"
    assert Pipeline.__module__ == "agent_pipeline.compose.pipeline"


def test_every_error_is_importable_from_the_root() -> None:
    """A user who catches an error must not have to know our rooms."""
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, AgentPipelineError)
    }

    assert ours <= set(agent_pipeline.__all__)
    assert all(getattr(agent_pipeline, name) is getattr(errors, name) for name in ours)


def test_dir_shows_what_is_not_imported_yet() -> None:
    """Completion in a notebook asks `dir`."""
    assert set(agent_pipeline.__all__) <= set(dir(agent_pipeline))
