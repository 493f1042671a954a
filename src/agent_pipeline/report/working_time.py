"""The time a run was worked on: its sessions end to end, without the hours between them."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from agent_pipeline.ledger import SessionRow

KILLED = "killed"


class WorkingTime:
    """Turns moments into seconds of work since the run began.

    Args:
        sessions: of the run, the first one first.
        last_seen: the last moment known of each session, by number: the end of one that was killed.
    """

    def __init__(self, sessions: Sequence[SessionRow], last_seen: Mapping[int, float]) -> None:
        self._starts: list[float] = []
        self._offsets: list[float] = []
        self._lengths: list[float] = []
        total = 0.0
        for session in sessions:
            start = session.started_at.timestamp()
            seen = max(last_seen.get(session.session, start), start)
            # A killed session's end is written when the next one begins, hours later perhaps.
            told = None if session.reason == KILLED else session.ended_at
            end = seen if told is None else max(told.timestamp(), seen)
            self._starts.append(start)
            self._offsets.append(total)
            self._lengths.append(end - start)
            total += end - start
        self.total = total

    @property
    def beginnings(self) -> list[float]:
        """When each session after the first began, in seconds of work."""
        return self._offsets[1:]

    def at(self, when: float) -> float:
        """Return the seconds of work before a moment (seconds since the epoch).

        One between two sessions counts as the end of the former.
        """
        if not self._starts:
            return 0.0
        position = max(bisect_right(self._starts, when) - 1, 0)
        into = min(max(when - self._starts[position], 0.0), self._lengths[position])
        return self._offsets[position] + into
