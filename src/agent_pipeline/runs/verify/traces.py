"""The Agents SDK's traces and spans: each request's span is there, in the trace of its document."""

from collections import defaultdict
from datetime import datetime

from agent_pipeline.ledger.joining import Record
from agent_pipeline.runs.verify.evidence import Evidence
from agent_pipeline.runs.verify.lines import objects


def check_traces(evidence: Evidence) -> None:
    """Read the traces, and compare them with requests and documents."""
    path = evidence.directory.sdk_traces
    if not path.is_file():
        evidence.findings.differ("file_missing", "the traces of the Agents SDK are gone", str(path))
        return
    for number, item in objects(path, evidence):
        _take(evidence, item, f"{path.name}:{number}")
    for span_id, records in evidence.joining.groups("spans"):
        _check_span(evidence, _by_kind(records), f"span {span_id}")
    for trace_id, records in evidence.joining.groups("traces"):
        _check_trace(evidence, _by_kind(records), f"trace {trace_id}")


def _take(evidence: Evidence, item: dict[str, object], where: str) -> None:
    counts, joining = evidence.findings.counts, evidence.joining
    identity = str(item.get("id"))
    if item.get("object") == "trace":
        counts["traces"] += 1
        metadata = item.get("metadata")
        named = metadata if isinstance(metadata, dict) else {}
        joining.add("traces", identity, ["trace", named.get("run_id"), named.get("document_id")])
    elif item.get("object") == "trace.span":
        counts["spans"] += 1
        joining.add("spans", identity, ["span", str(item.get("trace_id"))])
        joining.add("traces", str(item.get("trace_id")), ["span", identity])
    else:
        evidence.findings.differ("line_unreadable", "it is neither a trace nor a span", where)


def _by_kind(records: list[Record]) -> dict[str, list[Record]]:
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        kinds[record[0]].append(record[1:])
    return kinds


def _check_span(evidence: Evidence, kinds: dict[str, list[Record]], where: str) -> None:
    findings, spans = evidence.findings, kinds["span"]
    if len(spans) > 1:
        findings.differ("span_twice", "it was written several times", where, expected=1, found=len(spans))
    for session, ended_at, attempt_id, trace_id, was_interrupted in kinds["attempt"]:
        if spans:
            what = f"attempt {attempt_id} names a span of another trace"
            findings.compare("span_trace_differs", what, where, expected=trace_id, found=spans[0][0])
        elif evidence.may_be_lost(session, datetime.fromisoformat(ended_at)):
            findings.note("span_missing", "the process was killed before the span of a request was written", where)
        elif was_interrupted or evidence.may_be_lost_with_worker(session, datetime.fromisoformat(ended_at)):
            findings.note("span_missing", "whoever sent a request was killed or lost before its span was told", where)
        else:
            findings.differ("span_missing", f"attempt {attempt_id} names it, but it was not written", where)


def _check_trace(evidence: Evidence, kinds: dict[str, list[Record]], where: str) -> None:
    findings, traces, documents = evidence.findings, kinds["trace"], kinds["document"]
    if len(traces) > 1:
        findings.differ("trace_twice", "it was written several times", where, expected=1, found=len(traces))
    if not traces and kinds["span"]:  # a trace is written as it begins, so that no kill explains this
        what = "it has spans, but was not written itself"
        findings.differ("trace_missing", what, where, found=len(kinds["span"]))
    for run_id, document_id in traces[:1]:
        if documents:
            named, expected = [run_id, document_id], [evidence.directory.run_id, documents[0][0]]
            what = "it names another run or document than its id is made of"
            findings.compare("trace_document_differs", what, where, expected=[*expected], found=[*named])
        elif run_id is not None:  # a stage may open traces of its own, which name no run
            findings.differ("trace_unknown", "it is the trace of no document of this run", where, found=document_id)
