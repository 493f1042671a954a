"""What one whole run leaves behind: every file, every table, and that all of them tell the same story."""

import hashlib
import json
import re
import stat
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import make_project
from tests.integration.provider import SeparateSimulator

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT

DOCUMENTS: JsonValue = {
    "scraped_documents": [
        {"url": "https://example.org/1", "markdown": "# Plain words\n\nNothing special about them.\n"},
        {"source_url": "https://example.org/2", "content": f"# With a flaw\n\nGood line.\n{DEFECT} to mend\n"},
        {"link": "https://example.org/3", "markdown": f"# Past help\n\nGood line.\n{LASTING_DEFECT} stays\n"},
        {"markdown": "No url, so it is skipped."},
    ],
    "follow_up_documents": [
        {"url": "https://example.org/5", "markdown": ["not", "text"], "meta": {"kind": "broken"}},
        {"url": "https://example.org/6", "content": "import os\n\nprint(os.getcwd())\n"},
        {
            "url": "https://example.org/7",
            "content": "# Überschrift\n\nÄpfel und 梨.\u2028Neue Zeile \u202eunsichtbar\n",
        },
    ],
}

OUTCOMES = {
    "1": "succeeded",
    "2": "succeeded",
    "3": "failed",
    "4": "skipped",
    "5": "failed",
    "6": "succeeded",
    "7": "succeeded",
}


@dataclass(frozen=True)
class Outcome:
    """The run, and what the server counted meanwhile."""

    ended: Ended
    left: Leavings
    artifacts: Path
    requests: int


@pytest.fixture(scope="module")
def outcome(launcher: Launcher, simulator: SeparateSimulator, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the default stages once, over all kinds of entries a source may hold."""
    project = make_project(tmp_path_factory.mktemp("project"), DOCUMENTS, base_url=simulator.base_url)
    before = simulator.requests()
    ended = launcher.run("run", project.config, "--json", cwd=project.root)
    (run,) = project.runs()
    return Outcome(ended, Leavings(run), project.artifacts, simulator.requests() - before)


def test_all_files_are_whole_and_agree(outcome: Outcome) -> None:
    """Whoever looks a document up must find the same in every file."""
    assert_complete(outcome.left)


def test_the_names_are_those_of_the_contract(outcome: Outcome) -> None:
    """Scripts find runs, traces and logs by name."""
    left = outcome.left
    pattern = r"trial-(\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds)-[0-9a-f]{6}"
    match = re.fullmatch(pattern, left.name)

    assert match
    began = datetime.strptime(match[1], "%Y-%m-%d_%Hh%Mm%Ss").astimezone(UTC)
    assert abs(began - datetime.fromisoformat(str(left.run["started_at"]))).total_seconds() < 2
    assert left.run["run_id"] == left.name
    assert left.traces_path.is_file()
    assert left.sdk_log_path.is_file()
    assert [path.name for path in (left.path / "rejected").iterdir()] == ["3.md"]
    assert {path.name for path in left.path.parent.iterdir()} == {left.name, "openai_sdk"}


def test_all_that_a_run_makes_is_private(outcome: Outcome) -> None:
    """Documents, prompts and paths are nobody else's business on a shared machine."""
    folders = [outcome.artifacts, outcome.left.path.parent, *outcome.left.path.parent.rglob("*")]

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [*folders, *outcome.artifacts.iterdir()]}

    assert {str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_the_json_result_is_complete_and_true(outcome: Outcome) -> None:
    """A program decides by this object what to do next."""
    result, left = outcome.ended.result, outcome.left
    keys = {"run_id", "run_dir", "outcome", "exit_code", "reason", "documents", "usage", "cost_usd"}
    usage = {
        "requests",
        "attempts",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "charged_tokens",
        "unknown_tokens",
    }

    assert keys | {"duration_seconds", "artifacts", "next"} <= result.keys()
    assert (result["run_id"], result["run_dir"]) == (left.name, str(left.path))
    assert (result["outcome"], result["reason"]) == ("completed", "documents_failed")
    assert result["exit_code"] == outcome.ended.exit_code == 1
    assert result["documents"] == {"total": 7, "succeeded": 4, "failed": 2, "skipped": 1, "cancelled": 0}
    assert isinstance(result["usage"], dict)
    assert result["usage"].keys() == usage
    assert isinstance(result["cost_usd"], float)
    assert result["artifacts"] == [row["artifact_path"] for row in left.documents if row["artifact_path"]]
    assert "Traceback" not in outcome.ended.stderr


def test_requests_rows_and_charges_are_one_number(outcome: Outcome) -> None:
    """Requests the provider saw, rows in `attempts` and charges on the budget are the same thing counted thrice."""
    result, attempts = outcome.ended.result, outcome.left.attempts
    usage = result["usage"]
    assert isinstance(usage, dict)

    assert len(attempts) == outcome.requests == usage["attempts"] == usage["requests"] == 25
    assert sum(int(str(row["charged_tokens"])) for row in attempts) == usage["charged_tokens"] == usage["total_tokens"]
    assert sum(int(str(row["input_tokens"])) for row in attempts) == usage["input_tokens"]
    assert sum(int(str(row["output_tokens"])) for row in attempts) == usage["output_tokens"]
    assert sum(int(str(row["cost_micro_usd"])) for row in attempts) / 1e6 == result["cost_usd"]
    assert usage["unknown_tokens"] == 0


def test_each_request_is_a_record_of_the_http_logger(outcome: Outcome) -> None:
    """The SDK's log shows what went over the wire, beside what the SDK says of itself."""
    http = [line for line in outcome.left.sdk_log if line.event == "openai.agents.http"]

    assert len(http) == outcome.requests
    assert all("method=POST path=/v1/responses" in line.fields["message"] for line in http)


def test_every_document_has_one_end_that_says_why(outcome: Outcome) -> None:
    """Nothing is lost, nothing ends twice, and a failure names the stage where it happened."""
    left = outcome.left
    failures = {line.fields["doc"]: line.fields for line in left.named("PIPELINE_FAILURE")}

    assert {row["document_id"]: row["outcome"] for row in left.documents} == OUTCOMES
    assert [row["position"] for row in left.documents] == list(range(1, 8))
    assert failures.keys() == {"3", "5"}
    assert (failures["3"]["stage"], failures["3"]["error_code"]) == ("review", "rejected")
    assert "stage" not in failures["5"]
    assert (failures["5"]["error_code"], left.documents[4]["failed_stage"]) == ("document_invalid", None)
    assert "follow_up_documents[0]" in failures["5"]["error"]
    assert (left.documents[2]["failed_stage"], left.documents[2]["error_code"]) == ("review", "rejected")


def test_artifacts_are_what_the_ledger_says(outcome: Outcome) -> None:
    """A row that names an artifact is a promise about its bytes; the folder holds nothing else."""
    named = {
        str(row["artifact_path"]): row["artifact_sha256"] for row in outcome.left.documents if row["artifact_path"]
    }

    assert {str(path) for path in outcome.artifacts.iterdir()} == named.keys()
    assert {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in named} == named
    assert {Path(path).name for path in named} == {
        "plain-words.md",
        "with-a-flaw.md",
        "print-os-getcwd.py",
        "uberschrift.md",
    }


def test_rework_follows_the_reviewer(outcome: Outcome) -> None:
    """A flaw that feedback cures costs one more cycle; one that stays ends as `rejected` with its last text kept."""
    left = outcome.left
    verdicts = {key: [row["approved"] for row in left.reviews if row["document_id"] == key] for key in OUTCOMES}
    mended = (outcome.artifacts / "with-a-flaw.md").read_text(encoding="utf-8")

    assert verdicts == {
        "1": [True],
        "2": [False, True],
        "3": [False, False, False],
        "4": [],
        "5": [],
        "6": [True],
        "7": [True],
    }
    assert DEFECT not in mended
    assert "Good line." in mended
    assert LASTING_DEFECT in (left.path / "rejected" / "3.md").read_text(encoding="utf-8")
    assert [row["reworks"] for row in left.documents] == [0, 1, 2, 0, 0, 0, 0]
    assert {row["cycle"] for row in left.reviews if row["document_id"] == "3"} == {1, 2, 3}
    assert all(row.keys() >= {"approved", "issues", "suggestions", "cycle"} for row in left.reviews)


def test_stage_results_hold_each_pass_once(outcome: Outcome) -> None:
    """What is resumed later is what is recorded here; a pass that failed is not among it."""
    passes = Counter((row["document_id"], row["stage"], row["cycle"]) for row in outcome.left.table("stage_results"))
    plain = [(key, name, 1) for key in ("1", "2", "6", "7") for name in ("route", "transform", "review", "name")]
    again = [("2", name, 2) for name in ("transform", "review")]
    never = [("3", "route", 1), *(("3", name, cycle) for name in ("transform", "review") for cycle in (1, 2, 3))]

    assert passes == Counter([*plain, *again, *never])


def test_tables_have_the_columns_a_user_may_query(outcome: Outcome) -> None:
    """More columns are allowed, fewer break somebody's query."""
    promised = {
        "run": "run_id name started_at ended_at outcome reason config_sha256 version",
        "documents": "document_id position source content_sha256 outcome error_code error failed_stage reworks "
        "artifact_path artifact_sha256 started_at ended_at",
        "stage_results": "document_id stage cycle input_sha256 output_json started_at ended_at",
        "attempts": "attempt_id document_id stage role provider model number outcome status_code error_code "
        "wait_seconds wait_reason latency_seconds input_tokens output_tokens reserved_tokens charged_tokens "
        "cost_micro_usd provider_request_id started_at",
    }

    for table, columns in promised.items():
        found = outcome.left.table(table)[0].keys()
        assert set(columns.split()) <= found, table


def test_traces_join_documents_and_attempts(outcome: Outcome) -> None:
    """A trace belongs to a document by its group id, and holds one generation per request."""
    left = outcome.left
    traces = [item for item in left.traces if item["object"] == "trace"]
    spans = [item for item in left.traces if item["object"] == "trace.span"]
    worked_on = {f"doc-{row['document_id']}" for row in left.documents if row["document_id"] not in {"4", "5"}}
    group_of = {item["id"]: str(item["group_id"]) for item in traces}
    asked = Counter(group_of[str(span["trace_id"])] for span in spans if _kind(span) == "response")

    assert sorted(group_of.values()) == sorted(worked_on)
    assert asked == Counter(f"doc-{row['document_id']}" for row in left.attempts)
    ids = {span["id"] for span in spans}
    assert all(span["parent_id"] is None or span["parent_id"] in ids for span in spans)


def _kind(span: dict[str, object]) -> object:
    data = span["span_data"]
    assert isinstance(data, dict)
    return data["type"]


def test_texts_of_documents_stay_out_of_logs_and_traces(outcome: Outcome) -> None:
    """Prompts and documents are kept out of diagnostics unless somebody asks for them."""
    left = outcome.left
    diagnostics = [left.log_path, left.path / "events.jsonl", left.traces_path, left.sdk_log_path]

    for path in diagnostics:
        text = path.read_text(encoding="utf-8")
        assert "Nothing special about them" not in text, path
        assert "getcwd()" not in text, path


def test_the_manifest_is_last_and_sums_up(outcome: Outcome) -> None:
    """Its presence says that the run ended in order; what was opened is closed, and the files are as they were left."""
    left = outcome.left
    manifest = left.manifest
    result, files = manifest["result"], manifest["files"]
    assert isinstance(result, dict)
    assert isinstance(files, dict)
    hashes = {name: hashlib.sha256((left.path / name).read_bytes()).hexdigest() for name in files}

    assert result == {key: outcome.ended.result[key] for key in result}
    resources = manifest["resources"]
    assert isinstance(resources, dict)
    assert resources["loops"] == {"opened": 5, "closed": 5}
    assert {kind: pair["opened"] - pair["closed"] for kind, pair in resources.items()} == dict.fromkeys(resources, 0)
    assert resources.keys() == {"loops", "tasks", "connections", "threads", "handlers", "file_descriptors"}
    assert manifest["requests_open"] == 0
    assert {name: entry["sha256"] for name, entry in files.items()} == hashes
    newest = max(path.stat().st_mtime_ns for path in left.files())
    assert (left.path / "manifest.json").stat().st_mtime_ns == newest


def test_what_the_run_ran_with_is_kept(outcome: Outcome) -> None:
    """A result is worth what can be said about how it came to be."""
    left = outcome.left
    config = (left.path / "config.yaml").read_bytes()

    assert json.loads(config)["name"] == "trial"
    assert left.run["config_sha256"] == hashlib.sha256(config).hexdigest()
    assert json.loads((left.path / "roles.yaml").read_bytes())["project"] == "trial"
