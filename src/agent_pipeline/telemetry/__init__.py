"""Events to sinks (run log, typed events, reviews, SDK traces and log), written by one thread, flushed at the end."""

from agent_pipeline.telemetry.events_file import EventsSink
from agent_pipeline.telemetry.http_log import HttpLogSink
from agent_pipeline.telemetry.log_line import ParsedLine, format_line, parse_line
from agent_pipeline.telemetry.opening import OpenFile, continue_file, create_file
from agent_pipeline.telemetry.reading import ReadLine, parse_json_object, read_lines
from agent_pipeline.telemetry.redaction import Redactor
from agent_pipeline.telemetry.reviews import ReviewsSink
from agent_pipeline.telemetry.run_log import RunLogSink
from agent_pipeline.telemetry.sdk_log import SdkLogCapture, open_sdk_warnings
from agent_pipeline.telemetry.sdk_trace import SdkTraceSink
from agent_pipeline.telemetry.secret_values import NO_SECRETS, REDACTED, SecretValues
from agent_pipeline.telemetry.sink import LinesLostError, SelectiveSink, Sink, SourceSink
from agent_pipeline.telemetry.writer import Telemetry, TelemetryStatistics, open_telemetry

__all__ = [
    # the queue and its thread
    "Telemetry",
    "TelemetryStatistics",
    "open_telemetry",
    # what a sink is
    "LinesLostError",
    "SelectiveSink",
    "Sink",
    "SourceSink",
    # the sinks
    "EventsSink",
    "HttpLogSink",
    "ReviewsSink",
    "RunLogSink",
    "SdkLogCapture",
    "SdkTraceSink",
    # in a process that writes no files
    "open_sdk_warnings",
    # files: made, gone on with, read back
    "OpenFile",
    "continue_file",
    "create_file",
    "ReadLine",
    "parse_json_object",
    "read_lines",
    # the run log's lines
    "ParsedLine",
    "format_line",
    "parse_line",
    # secrets
    "NO_SECRETS",
    "REDACTED",
    "Redactor",
    "SecretValues",
]
