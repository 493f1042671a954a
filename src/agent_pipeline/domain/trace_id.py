"""The id of a document's trace, which can be told without asking anybody."""

import hashlib


def trace_id_of(run_id: str, document_id: str, session: int) -> str:
    """Return the id of the trace of a document in one session of a run, in the Agents SDK's form.

    >>> trace_id_of("smoke-2026-01-02_03h04m05s-a1b2c3", "1", 1)
    'trace_89ef642b9129498f3faa79a61fa0dd0c'
    """
    origin = f"{run_id} {document_id} {session}"
    return f"trace_{hashlib.sha256(origin.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
