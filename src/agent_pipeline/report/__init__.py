"""One HTML file about a run, or about two: offline, bounded in size, whatever models and providers said stays text."""

from agent_pipeline.report.writing import Written, write_report

__all__ = ["Written", "write_report"]
