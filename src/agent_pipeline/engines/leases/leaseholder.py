"""The worker's side of leases: a budget of what was granted, and limits per minute that ask before sending."""

import math
from collections.abc import Callable, Collection

import trio

from agent_pipeline.control.budget import Budget, Caps, RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.rate import Rate
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.leases.budget_lease import BudgetLease
from agent_pipeline.engines.leases.departures import Departures, owners_of
from agent_pipeline.engines.leases.rate_lease import RateLease
from agent_pipeline.engines.messages import (
    RUN,
    Amount,
    Command,
    Grant,
    Heard,
    HeardWanted,
    LeaseReturned,
    LeaseWanted,
    Pause,
    Paused,
    RateGrant,
    RateLimits,
    Recall,
    Report,
)

BEAT = 0.2
"""Seconds between reports of what was used of limits per minute; without such limits it beats once in five."""


class Leases:
    """What a worker holds of budgets and limits that belong to the whole run.

    The worker makes it first, makes its gate of `budget` and with `sharing=leases`, then calls `serve(gate)`, starts
    `run` beside its documents, gives it every command through `take`, and every attempt it has reported through `told`.
    At its end it calls `close`, then says `Done`. Nobody awaits a lease: it is asked for by a report, and what was
    granted arrives by `take` whoever was cancelled meanwhile.

    Args:
        report: queues a report.
        flush: lets queued reports leave at once.
        leased: owners of budgets of which the worker has nothing but what it is granted, as in `WorkerPlan`.

    Attributes:
        budget: the run's, for the gate.
    """

    def __init__(
        self, report: Callable[[Report], object], flush: Callable[[], object], leased: Collection[str]
    ) -> None:
        self._report = report
        self._flush = flush
        roles = [owner.removeprefix("role:") for owner in leased if owner != RUN]
        self.budget = RunBudget(roles={role: Budget("role", role, Caps()) for role in roles})
        self._departures = Departures(self._ask, trio.current_time)
        self._budgets: dict[str, BudgetLease] = {owner: self._lease(owner) for owner in leased}
        self._rates: dict[tuple[str, str], RateLease] = {}
        self._limited: dict[tuple[str, str], RateLimits] = {}
        self._paused_until: dict[tuple[str, str], float] = {}
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._gate: Gate | None = None

    def serve(self, gate: Gate) -> None:
        """Wake those who wait at this gate when something arrives."""
        self._gate = gate

    async def run(self) -> None:
        """Report what was used, and give back what is not used in time, until cancelled."""
        while True:
            await trio.sleep(BEAT if any(one.is_leased for one in self._rates.values()) else 5 * BEAT)
            for rate in self._rates.values():
                rate.beat()
            for budget in self._budgets.values():
                budget.beat()
            self._departures.beat()

    def told(self, attempt: AttemptRecord) -> None:
        """Count an attempt that was just reported; it may be time to hear what was heard."""
        self._departures.told(attempt)
        if not self._budgets:
            self._departures.hear_all()
            return
        concerned = [lease for owner in owners_of(attempt.role) if (lease := self._budgets.get(owner)) is not None]
        for lease in concerned:
            lease.resize()
        if any(lease.needs_news for lease in concerned):
            self._departures.ask()

    def take(self, command: Command) -> bool:
        """Take `Grant`, `Heard`, `Recall`, `RateLimits`, `RateGrant` or `Pause`; return whether it was one of them."""
        match command:
            case Grant():
                self._take_grant(command)
            case Heard(attempts):
                self._take_news(attempts)
            case Recall(owner):
                self._budgets[owner].recall()
            case RateLimits():
                self._take_limits(command)
            case RateGrant(provider=provider, model=model):
                if (rate := self._rates.get((provider, model))) is not None:
                    rate.answer(command)
                    self._look_again(provider, model)
            case Pause():
                self._take_pause(command)
            case _:
                return False
        return True

    def close(self) -> None:
        """Report what is not reported yet, and give everything back; for when nothing is in flight any more."""
        for rate in self._rates.values():
            rate.close()
        for budget in self._budgets.values():
            budget.give_back(Amount())

    # --- what the gate asks ------------------------------------------------------------------------------------------

    def rate(self, provider: str, model: str) -> Rate:
        """Return what a new lane asks before a request goes."""
        rate = RateLease(provider, model, self._report, self._flush, trio.current_time)
        self._rates[provider, model] = rate
        for key in (("", ""), (provider, model)):
            if (limits := self._limited.get(key)) is not None:
                rate.configure(limits.requests_per_minute, limits.tokens_per_minute)
        return rate

    def paused(self, provider: str, model: str, delay: float) -> None:
        """Tell the others, unless a refusal just before this one did."""
        until = trio.current_time() + delay
        if until > self._paused_until.get((provider, model), -math.inf) + BEAT / 2:
            self._paused_until[provider, model] = until
            self._report(Paused(provider, model, delay))
            self._flush()

    def pause_left(self, provider: str, model: str) -> float:
        """Return for how many seconds more nobody may send to a model to which nothing went from here yet."""
        return max(0.0, self._quiet_until.pop((provider, model), -math.inf) - trio.current_time())

    # --- how ---------------------------------------------------------------------------------------------------------

    def _lease(self, owner: str) -> BudgetLease:
        budget = self.budget if owner == RUN else self.budget.roles[owner.removeprefix("role:")]
        return BudgetLease(owner, budget, self._departures, self._ask, trio.current_time)

    def _ask(self, report: LeaseWanted | LeaseReturned | HeardWanted) -> None:
        self._report(report)
        self._flush()

    def _take_grant(self, grant: Grant) -> None:
        lease = self._budgets.get(grant.owner)
        if lease is None:
            lease = self._budgets[grant.owner] = self._lease(grant.owner)
            lease.ask_ahead()  # all that was reported before this is in its own count already
        lease.answer(grant)
        if self._gate is not None:
            self._gate.wake_budget_waiters()

    def _take_news(self, attempts: int) -> None:
        self._departures.heard(attempts)
        for lease in self._budgets.values():
            lease.heard()
        if self._gate is not None:
            self._gate.wake_budget_waiters()

    def _take_limits(self, limits: RateLimits) -> None:
        key = limits.provider, limits.model
        self._limited[key] = limits
        for concerned, rate in self._rates.items():
            if key in {("", ""), concerned}:
                rate.configure(limits.requests_per_minute, limits.tokens_per_minute)
                self._look_again(*concerned)

    def _take_pause(self, pause: Pause) -> None:
        lane = None if self._gate is None else self._gate.lane(pause.provider, pause.model)
        if lane is not None:
            lane.share_pause(pause.seconds)
            return
        key, until = (pause.provider, pause.model), trio.current_time() + pause.seconds
        self._quiet_until[key] = max(until, self._quiet_until.get(key, -math.inf))

    def _look_again(self, provider: str, model: str) -> None:
        if self._gate is not None and (lane := self._gate.lane(provider, model)) is not None:
            lane.rate_changed()
