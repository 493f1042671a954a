"""The ledger of a run: one SQLite file that says what happened to every document, and nothing it says is ever lost."""

from agent_pipeline.ledger.ledger import Ledger, open_ledger
from agent_pipeline.ledger.readers import recorded_artifacts

__all__ = ["Ledger", "open_ledger", "recorded_artifacts"]
