"""The ledger of a run: one SQLite file that says what happened to every document, and nothing it says is ever lost."""

from agent_pipeline.ledger.answers import (
    AttemptCount,
    AttemptRow,
    DocumentCount,
    DocumentRow,
    KnownDocument,
    LatencyCount,
    RoleUsage,
    RunRow,
    Session,
    SessionRow,
    StageResultRow,
)
from agent_pipeline.ledger.ledger import Ledger, open_ledger
from agent_pipeline.ledger.readers import LedgerReader, count_documents, open_reader, recorded_artifacts
from agent_pipeline.ledger.summaries import FailureGroup, RoleModel, StageTimes, Totals, WaitSum

__all__ = [
    "AttemptCount",
    "AttemptRow",
    "DocumentCount",
    "DocumentRow",
    "FailureGroup",
    "KnownDocument",
    "LatencyCount",
    "Ledger",
    "LedgerReader",
    "RoleModel",
    "RoleUsage",
    "RunRow",
    "Session",
    "SessionRow",
    "StageResultRow",
    "StageTimes",
    "Totals",
    "WaitSum",
    "count_documents",
    "open_ledger",
    "open_reader",
    "recorded_artifacts",
]
