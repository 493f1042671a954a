"""A stage of one's own: one model call with structured output. Run it: `uv run python examples/own_stage.py`."""

from pathlib import Path

from pydantic import BaseModel

from agent_pipeline import Document, Pipeline, StageContext, stage
from agent_pipeline.compose import RunOptions

CONFIG = Path(__file__).with_suffix(".yaml")


class Summary(BaseModel):
    """What the model is asked for."""

    title: str
    summary: str


@stage(role="summariser")
async def summarise(document: Document, context: StageContext) -> Document:
    """Replace the text by a title and one sentence."""
    answer = await context.ask(f"Summarise in one sentence:\n{document.text}", output_type=Summary)
    return document.with_text(f"# {answer.title}\n\n{answer.summary}\n").with_fields(file_slug=f"summary-{document.id}")


if __name__ == "__main__":
    # offline: the embedded simulator answers, by rules; clean: what an earlier run wrote goes first.
    result = Pipeline.from_config(CONFIG, options=RunOptions(offline=True, clean=True)).run_sync()

    print(f"{result.outcome}: {result.documents.succeeded} of {result.documents.total} documents")
    for path in result.artifacts:
        print("\n".join(["", path, Path(path).read_text(encoding="utf-8").rstrip()]))
    if result.exit_code:
        raise SystemExit(result.exit_code)
