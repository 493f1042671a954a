"""Artifacts: each recorded file is there, whole and unchanged, and belongs to one document alone."""

import errno
import hashlib
import os
import stat
from pathlib import Path

from agent_pipeline.documents import tag_of_run
from agent_pipeline.documents.temporary import tag_in
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.runs.verify.evidence import Evidence

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}


def check_artifacts(evidence: Evidence) -> None:
    """Compare the files with what the ledger recorded of them."""
    folders: set[str] = set()
    for path, records in evidence.joining.groups("artifacts"):
        evidence.findings.counts["artifacts"] += 1
        folders.add(str(Path(path).parent))
        names: list[JsonValue] = [str(document_id) for document_id, *_ in records]
        if len(names) > 1:
            evidence.findings.differ("artifact_shared", "several documents have this artifact", path, found=names)
        for document_id, sha256, size_bytes in records:
            _check_file(evidence, document_id, path, [sha256, size_bytes])
    for folder in sorted(folders):
        _check_folder(evidence, folder)


def _check_file(evidence: Evidence, document_id: str, path: str, expected: list[JsonValue]) -> None:
    where = f"document {document_id}: {path}"
    try:
        found = _digest(path)
    except ValueError:
        evidence.findings.differ("artifact_missing", "its artifact has a name that no file can have", where)
        return
    except OSError as exc:
        what = f"its artifact can't be read: {exc.strerror}"
        if exc.errno in _NOT_THERE:
            evidence.findings.differ("artifact_missing", what, where)
        else:
            evidence.findings.differ("artifact_unreadable", what, where)
        return
    if found is None:
        evidence.findings.differ("artifact_missing", "its artifact is no regular file", where)
    elif found != expected:
        what = "its artifact was changed (SHA-256, bytes)"
        evidence.findings.differ("artifact_changed", what, where, expected=expected, found=found)


def _digest(path: str) -> list[JsonValue] | None:
    """Return SHA-256 and size of a regular file; None for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return [hashlib.file_digest(file, "sha256").hexdigest(), status.st_size]
    finally:
        os.close(descriptor)


def _check_folder(evidence: Evidence, folder: str) -> None:
    """A temporary file of this run beside its artifacts is the work of a killed process."""
    tag = tag_of_run(evidence.directory.run_id)
    try:
        left = sorted(path for path in Path(folder).iterdir() if tag_in(path.name) == tag)
    except (OSError, ValueError):
        return  # its artifacts are missing, which was told
    for path in left:
        if evidence.is_attested(evidence.last_session):
            evidence.findings.differ("temporary_left", "a temporary file was left", str(path))
        else:
            what = "a killed process left a temporary file; `resume` clears it away"
            evidence.findings.note("temporary_left", what, str(path))
