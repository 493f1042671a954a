"""Checking a run: one id joins document, trace, spans, HTTP requests, ledger and artifact, and nothing is lost."""

from collections.abc import Generator
from contextlib import contextmanager

from agent_pipeline.errors import LedgerError, RunDirectoryError
from agent_pipeline.ledger import LedgerReader, open_reader
from agent_pipeline.ledger.joining import open_joining
from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.runs.verify.artifacts import check_artifacts
from agent_pipeline.runs.verify.attempts import check_attempt_events, check_attempts
from agent_pipeline.runs.verify.documents import check_documents
from agent_pipeline.runs.verify.evidence import Evidence
from agent_pipeline.runs.verify.findings import Difference, Findings, Note, Report
from agent_pipeline.runs.verify.histories import check_histories, hand_on_results
from agent_pipeline.runs.verify.logs import check_logs, check_reviews
from agent_pipeline.runs.verify.manifest import check_manifest, read_manifest
from agent_pipeline.runs.verify.sessions import check_sessions
from agent_pipeline.runs.verify.traces import check_traces

__all__ = ["Difference", "Note", "Report", "verify_run"]


def verify_run(directory: RunDirectory) -> Report:
    """Check everything a run left behind against everything else; nothing is changed, and little is held in memory.

    What a killed process leaves undone is noted; all else that does not fit together is a difference. The run is held
    meanwhile, so that nobody goes on with it.

    Raises:
        RunInUseError: a process works on the run.
        RunDirectoryError: it is no run, half deleted, of another version, or its ledger can't be read.
    """
    findings = Findings()
    with directory.locked(shared=True), _readable(directory) as ledger, open_joining() as joining:
        evidence = Evidence(
            directory=directory,
            ledger=ledger,
            sessions={session.session: session for session in ledger.sessions()},
            manifest=read_manifest(directory, findings),
            joining=joining,
            findings=findings,
        )
        check_sessions(evidence)
        check_logs(evidence)
        check_reviews(evidence)
        check_documents(evidence)
        hand_on_results(evidence)
        check_attempts(evidence)
        check_histories(evidence)
        check_attempt_events(evidence)
        check_traces(evidence)
        check_artifacts(evidence)
        check_manifest(evidence)
    return findings.report(directory.run_id)


@contextmanager
def _readable(directory: RunDirectory) -> Generator[LedgerReader]:
    """Open the ledger of a directory that holds a whole run."""
    for path in (directory.log, directory.events, directory.reviews, directory.path / "config.yaml"):
        if not path.is_file():
            msg = f"{directory.path}: {path.name} is missing; a part of the run was deleted"
            raise RunDirectoryError(msg)
    try:
        with open_reader(directory.ledger, rows_of=iter) as ledger:
            if ledger.run.run_id != directory.run_id:
                msg = f"{directory.path}: its ledger is that of another run, {ledger.run.run_id}; was it renamed?"
                raise RunDirectoryError(msg)
            yield ledger
    except (LedgerError, OSError) as exc:
        raise RunDirectoryError(f"{directory.path}: {exc}" if isinstance(exc, OSError) else str(exc)) from exc
