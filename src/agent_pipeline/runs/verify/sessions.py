"""The ledger as a file, the run's row, and its sessions: one after the other, each ended before the next."""

from datetime import datetime

from agent_pipeline.runs.verify.evidence import Evidence


def check_sessions(evidence: Evidence) -> None:
    """Check what the ledger says of the run as a whole."""
    for problem in evidence.ledger.integrity_problems():
        evidence.findings.differ("ledger_damaged", problem, evidence.directory.ledger.name)
    findings, sessions = evidence.findings, evidence.sessions
    findings.counts["sessions"] = len(sessions)
    numbers = [*sessions]
    if numbers != [*range(1, len(numbers) + 1)]:
        findings.differ("session_missing", "the sessions are not numbered one by one", "sessions", found=[*numbers])
    for number, session in sessions.items():
        where = f"session {number}"
        if session.ended_at is None and number != evidence.last_session:
            findings.differ("session_open", "it has no end, though another one followed", where)
        elif session.ended_at is None:
            findings.note("session_killed", "the last session was killed; `resume` goes on with the run", where)
        else:
            note_jump(evidence, where, session.started_at, session.ended_at)
    _check_run(evidence)


def _check_run(evidence: Evidence) -> None:
    """The run ended as its last session did."""
    last, run = evidence.sessions.get(evidence.last_session), evidence.ledger.run
    if last is None:
        return
    for name in ("outcome", "reason", "ended_at"):
        what = f"{name} of the run is not that of its last session"
        expected, found = (None if one is None else str(one) for one in (getattr(last, name), getattr(run, name)))
        evidence.findings.compare("run_differs", what, "run", expected=expected, found=found)


def note_jump(evidence: Evidence, where: str, started_at: datetime, ended_at: datetime) -> None:
    """Note what ended before it began: the clock was set back meanwhile."""
    if ended_at < started_at:
        back = (started_at - ended_at).total_seconds()
        evidence.findings.note("clock_jump", f"it ended {back:.1f} s before it began, by the clock", where)
