"""A run's results as a table, one row per document that ended: JSON Lines, CSV or Parquet."""

from agent_pipeline.runs.results.rows import Row, Rows, open_rows
from agent_pipeline.runs.results.tables import check_format, write_results

__all__ = ["Row", "Rows", "check_format", "open_rows", "write_results"]
