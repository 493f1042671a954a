"""Money and tokens for work that a provider does for hours, such as a batch: held when it begins, ended once."""

from typing import Protocol

from agent_pipeline.control.budget import Hold
from agent_pipeline.domain.usage import Usage


class OnEnd(Protocol):
    """Takes what was reported in the end, and whether some of it has no known price."""

    def __call__(self, usage: Usage, *, unknown_cost: bool) -> None:
        """Count them, and wake who waits for budget."""
        ...


class Commitment:
    """The worst case of such work on the budgets of its run, role and document; made by `Gate.commit`.

    Ended exactly once, by `settle`, `release` or `forfeit`; those who wait for budget look again then.
    """

    def __init__(self, hold: Hold, on_end: OnEnd) -> None:
        self._hold = hold
        self._on_end = on_end
        self.is_open = True

    def settle(
        self, usage: Usage, *, micro_usd: int | None, unknown_tokens: int = 0, unknown_micro_usd: int = 0
    ) -> None:
        """Charge what was reported, and the worst case of the parts that nobody reported on; give the rest back.

        Args:
            usage: tokens reported.
            micro_usd: what they cost; None where no price is known.
            unknown_tokens: of the parts that may have been worked on without a report.
            unknown_micro_usd: likewise.
        """
        self._hold.settle(
            tokens=usage.total_tokens,
            micro_usd=micro_usd or 0,
            unknown_tokens=unknown_tokens,
            unknown_micro_usd=unknown_micro_usd,
        )
        self._end(usage, unknown_cost=micro_usd is None)

    def release(self) -> None:
        """Give all back: the work never began."""
        self._hold.release()
        self._end(Usage(), unknown_cost=False)

    def forfeit(self) -> None:
        """Charge all in full: nobody will tell."""
        self._hold.forfeit()
        self._end(Usage(), unknown_cost=False)

    def _end(self, usage: Usage, *, unknown_cost: bool) -> None:
        self.is_open = False
        self._on_end(usage, unknown_cost=unknown_cost)
