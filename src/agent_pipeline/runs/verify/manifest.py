"""The manifest: the files are as it says, and its sums are those of the ledger."""

import hashlib
import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.runs.verify.evidence import Evidence, shown
from agent_pipeline.runs.verify.findings import Findings

_VERSIONS = ("python", "agent-pipeline", "openai", "openai-agents", "httpx2", "trio")
_COUNTED = ("loops", "tasks", "connections")
"""What a run counts itself; of threads, handlers and descriptors it sees the whole process, which others share."""


def read_manifest(directory: RunDirectory, findings: Findings) -> dict[str, Any] | None:
    """Return the manifest; empty where it can't be read, None where there is none."""
    try:
        value = json.loads(directory.manifest.read_bytes())
    except FileNotFoundError:
        what = "there is no manifest: the process was killed before it wrote it, or somebody removed it"
        findings.note("manifest_missing", what, directory.manifest.name)
        return None
    except (ValueError, RecursionError, OSError) as exc:
        findings.differ("manifest_unreadable", f"it can't be read: {exc}", directory.manifest.name)
        return {}
    if not isinstance(value, dict):
        findings.differ("manifest_unreadable", "it is not an object", directory.manifest.name)
        return {}
    return value


def check_manifest(evidence: Evidence) -> None:
    """Compare the manifest with files and ledger; without one there is nothing to compare."""
    manifest, findings = evidence.manifest, evidence.findings
    if not manifest:
        return
    where = evidence.directory.manifest.name
    run_id = evidence.directory.run_id
    findings.compare("manifest_differs", "it is of another run", where, expected=run_id, found=manifest.get("run_id"))
    _check_files(evidence, _mapping(manifest.get("files")))
    _check_config(evidence)
    versions = _mapping(manifest.get("versions"))
    for name in _VERSIONS:
        if not versions.get(name):
            findings.differ("version_missing", f"it does not say which version of {name} was used", where)
    _check_resources(evidence, _mapping(manifest.get("resources")), where)
    for sink, count in _mapping(manifest.get("dropped")).items():
        findings.note("telemetry_dropped", f"the run itself says that it lost {count} events of {sink}", where)
    result = manifest.get("result")
    if result is None:
        findings.note("outcome_untold", "the run could not tell how it ended", where)
    else:
        _check_result(evidence, _mapping(result), where)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_files(evidence: Evidence, recorded: Mapping[str, Any]) -> None:
    findings, ledger = evidence.findings, evidence.directory.ledger.name
    present = {shown(name): found for name, found in evidence.directory.file_hashes().items()}
    present.pop(evidence.directory.manifest.name, None)
    # Whoever looks at the ledger with a tool of SQLite may leave both of these, empty or worthless.
    present.pop(f"{ledger}-shm", None)
    log = present.pop(f"{ledger}-wal", None)
    if log is not None and log["size_bytes"]:
        findings.differ("file_changed", "somebody wrote to the ledger after the run ended", f"{ledger}-wal")
    findings.counts["files"] = len(present)
    for name, expected in recorded.items():
        found = present.pop(name, None)
        if found is None:
            findings.differ("file_missing", "it was there when the run ended", name)
        elif found != expected:
            findings.differ(
                "file_changed", "it was changed after the run ended", name, expected=expected, found={**found}
            )
    for name in present:
        findings.note("file_unknown", "it was added after the run ended", name)


def _check_config(evidence: Evidence) -> None:
    path = evidence.directory.path / "config.yaml"
    if path.is_file():
        found, expected = hashlib.sha256(path.read_bytes()).hexdigest(), evidence.ledger.run.config_sha256
        what = "the kept pipeline file is not the one the run had"
        evidence.findings.compare("config_differs", what, path.name, expected=expected, found=found)


def _check_resources(evidence: Evidence, resources: Mapping[str, Any], where: str) -> None:
    for kind, pair in resources.items():
        opened, closed = (_mapping(pair).get(name) for name in ("opened", "closed"))
        if opened == closed:
            continue
        what = f"not all {kind} that were opened were closed"
        if kind in _COUNTED:
            evidence.findings.differ("left_open", what, where, expected=opened, found=closed)
        else:
            evidence.findings.note("left_open", f"{what}, by the run or by the rest of its process", where)


def _check_result(evidence: Evidence, result: Mapping[str, Any], where: str) -> None:
    findings, counts = evidence.findings, evidence.findings.counts
    outcome = evidence.ledger.run.outcome
    findings.compare(
        "result_differs", "the outcome is not the ledger's", where, expected=outcome, found=result.get("outcome")
    )
    usage, documents = _mapping(result.get("usage")), _mapping(result.get("documents"))
    for name in ("attempts", "charged_tokens", "unknown_tokens", "input_tokens", "output_tokens"):
        what = f"usage.{name} is not the sum of the ledger's attempts"
        findings.compare("result_differs", what, where, expected=counts[name], found=usage.get(name))
    cost = result.get("cost_usd")
    if isinstance(cost, int | float):
        what = "cost_usd is not the sum of the ledger's attempts, in micro-dollars"
        found = round(cost * 1_000_000)
        findings.compare("result_differs", what, where, expected=counts["cost_micro_usd"], found=found)
    # In later sessions a source that was changed, or not read to its end, holds other documents than the ledger.
    if evidence.last_session == 1 and result.get("reason") != "duplicate_id":
        for name in ("succeeded", "failed", "skipped", "cancelled", "total"):
            what = f"documents.{name} is not what the ledger says"
            expected = counts["documents" if name == "total" else name]
            findings.compare("result_differs", what, where, expected=expected, found=documents.get(name))
    _check_artifacts(evidence, result, where)
    _check_last_event(evidence, result, documents)


def _check_artifacts(evidence: Evidence, result: Mapping[str, Any], where: str) -> None:
    recorded = (shown(row.artifact.path) for row in evidence.ledger.documents() if row.artifact is not None)
    listed = result.get("artifacts")
    for expected, found in zip_longest(recorded, listed if isinstance(listed, list) else []):
        if expected != found:
            what = "its artifacts are not those of the ledger, in this order"
            evidence.findings.differ("result_differs", what, where, expected=expected, found=found)
            return


def _check_last_event(evidence: Evidence, result: Mapping[str, Any], documents: Mapping[str, Any]) -> None:
    """The last event said the same, before it."""
    findings, where = evidence.findings, evidence.directory.events.name
    event = evidence.ended_events.get(evidence.last_session)
    if event is None:
        findings.differ("event_missing", "no event tells how the run ended", where, expected="PIPELINE_FINISHED")
        return
    for name, expected in {**documents, "outcome": result.get("outcome")}.items():
        what = f"{name} in PIPELINE_FINISHED is not what the manifest says"
        findings.compare("result_differs", what, where, expected=expected, found=event.get(name))
