"""An agent with two tools and structured output. Run it: `uv run python examples/agent_with_tools.py`."""

import sqlite3
from pathlib import Path

import trio
from pydantic import BaseModel

from agent_pipeline import Document, Pipeline, StageContext, stage
from agent_pipeline.compose import RunOptions

CONFIG = Path(__file__).with_suffix(".yaml")
SHELVES = {"concurrency": "A1", "network": "B2", "storage": "C3"}


class Card(BaseModel):
    """A card of the catalogue."""

    title: str
    summary: str


@stage(role="librarian")
async def catalogue(document: Document, context: StageContext) -> Document:
    """Let an agent look the shelf up, then describe the document."""
    found: list[str] = []

    async def find_shelf(topic: str) -> str:
        """Find the shelf for a topic."""
        await trio.sleep(0.01)  # an async tool is a Trio function, though the agent itself runs under asyncio
        found.append(SHELVES.get(str(document.metadata["topic"]), "D4"))
        return f"{topic}: shelf {found[-1]}"

    prompt = f"Find the shelf of this text and describe it.\n\n<document>\n{document.text}\n</document>"
    card = await context.run_agent("librarian", prompt, Card, tools=[find_shelf])
    shelf = found[-1] if found else "not looked up"
    context.log("CATALOGUED", shelf=shelf)
    return document.with_text(f"# {card.title}\n\n{card.summary}\n\nShelf: {shelf}\n").with_fields(
        file_slug=f"card-{document.id}"
    )


if __name__ == "__main__":
    result = Pipeline.from_config(CONFIG, options=RunOptions(offline=True, clean=True)).run_sync()

    print(f"{result.outcome}: {result.documents.succeeded} of {result.documents.total} documents")
    for path in result.artifacts:
        print("\n".join(["", path, Path(path).read_text(encoding="utf-8").rstrip()]))
    # Each request is a row of the ledger: two per document, the tool call and the answer.
    with sqlite3.connect(Path(result.run_dir) / "ledger.sqlite3") as ledger:
        for row in ledger.execute("SELECT document_id, count(*), sum(charged_tokens) FROM attempts GROUP BY 1"):
            print("{}: {} requests, {} tokens".format(*row))
    if result.exit_code:
        raise SystemExit(result.exit_code)
