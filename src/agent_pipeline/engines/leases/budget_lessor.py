"""The driver's side of the budgets: what of them is lent to which worker, and what became of it."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from agent_pipeline.control.budget import Budget, Caps, RunBudget
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.leases.purse import Purse
from agent_pipeline.engines.messages import RUN, Amount, Grant, Heard, LeaseReturned, LeaseWanted, Left, Recall

TellOfBudget = Callable[[int, Grant | Heard | Recall], object]


class BudgetLessor:
    """Lends out the budgets of a run: at no instant is more spent and lent than a cap allows.

    The driver calls `join` when a worker says `Ready`; `want`, `returned` and `spent` for each `LeaseWanted`,
    `LeaseReturned` and `Attempted` of it, in their order, and `news` for each `HeardWanted`; `dismiss` when it is done,
    `revoke` when it was killed or lost; and `caps_changed` after a cap was changed. All else goes out through `tell`.
    What a worker that was dismissed, revoked, or has not joined, still reports counts for nothing.

    Who asks gets what he wants, as long as that is a small part of what is free; near the end the parts shrink, and
    what others have lying idle is recalled. So a request is refused where it would be by one process alone: when it
    does not fit beside what was really spent.

    Args:
        budget: the run's own, whose trackers hold what is lent.
        tell: sends a command to a worker, by its number; never blocks.
    """

    def __init__(self, budget: RunBudget, tell: TellOfBudget) -> None:
        self._owners = {RUN: _Owner(RUN, budget, tell)} | {
            owner: _Owner(owner, of_role, tell)
            for owner, of_role in ((f"role:{name}", one) for name, one in budget.roles.items())
        }
        self._tell = tell
        self._workers: set[int] = set()
        self._heard: Counter[int] = Counter()

    def join(self, worker: int) -> None:
        """Count a worker among those who share."""
        self._workers.add(worker)
        for owner in self._owners.values():
            owner.join(worker)

    def want(self, worker: int, wanted: LeaseWanted) -> Grant | None:
        """Return what the worker gets, or None where it has to wait: then `tell` brings it.

        Asked again with the same id, it is what it got then.
        """
        return self._owners[wanted.owner].want(worker, wanted) if worker in self._workers else None

    def spent(self, worker: int, record: AttemptRecord) -> None:
        """Take an attempt as it leaves (no outcome) or has ended: what it was charged is spent."""
        if worker in self._workers:
            self._heard[worker] += 1
            for owner in self._concerning(record.role):
                owner.spent(worker, record)

    def news(self, worker: int) -> None:
        """Tell a worker how many of its attempts' reports were heard."""
        if worker in self._workers:
            self._tell(worker, Heard(self._heard[worker]))

    def returned(self, worker: int, returned: LeaseReturned) -> None:
        """Take back what a worker has not used."""
        if worker in self._workers:
            self._owners[returned.owner].returned(worker, returned.amount)

    def revoke(self, worker: int) -> Mapping[str, Amount]:
        """Believe a worker that is gone nothing more: what was under way becomes unknown spend.

        Requests may have left that were not heard of: as much as that may be is withheld from all, and returned, by
        owner. All else is free.
        """
        withheld = {name: owner.withhold(worker) for name, owner in self._owners.items()}
        self.dismiss(worker)
        return {name: amount for name, amount in withheld.items() if amount != Amount()}

    def dismiss(self, worker: int) -> None:
        """Believe a worker nothing more that has said its last word: what it has not used is free."""
        self._workers.discard(worker)
        del self._heard[worker]
        for owner in self._owners.values():
            owner.dismiss(worker)

    def caps_changed(self) -> None:
        """Look again after the caps of the budgets were changed; who was told that it had its last may ask anew."""
        for owner in self._owners.values():
            owner.caps_changed()

    def _concerning(self, role: str) -> Iterator["_Owner"]:
        yield self._owners[RUN]
        if (of_role := self._owners.get(f"role:{role}")) is not None:
            yield of_role


@dataclass(slots=True)
class _Account:
    """What one worker has of one owner's budget.

    Attributes:
        under_way: what its attempts hold that have left and not ended, by their id.
        is_leased: whether it has nothing but what it was granted.
        granted: the last answer.
        was_refused: whether that was a last one.
        was_recalled: whether it was asked to give back, and has done nothing since.
    """

    tokens: Purse
    micro_usd: Purse
    under_way: dict[str, Amount] = field(default_factory=dict)
    is_leased: bool = False
    granted: Grant | None = None
    was_refused: bool = False
    was_recalled: bool = False

    def grant(self, amount: Amount) -> None:
        self.tokens.grant(amount.tokens)
        self.micro_usd.grant(amount.micro_usd)

    @property
    def rest(self) -> Amount:
        """What it was granted, less what left or was charged; at least nothing."""
        return Amount(max(0, self.tokens.rest), max(0, self.micro_usd.rest))


class _Owner:
    """One budget, and who shares it."""

    def __init__(self, name: str, budget: Budget, tell: TellOfBudget) -> None:
        self._name = name
        self._budget = budget
        self._tell = tell
        self._accounts: dict[int, _Account] = {}
        self._waiting: OrderedDict[int, LeaseWanted] = OrderedDict()

    def join(self, worker: int) -> None:
        self._accounts[worker] = _Account(Purse(self._budget.tokens), Purse(self._budget.micro_usd))

    def want(self, worker: int, wanted: LeaseWanted) -> Grant | None:
        account = self._accounts[worker]
        if account.granted is not None and account.granted.lease_id == wanted.lease_id:
            account.was_recalled = False
            return account.granted
        if not account.is_leased:
            # What went before is in the worker's own count already, and all of it was reported before this.
            account.is_leased = True
            account.tokens.rest = account.micro_usd.rest = 0
        if wanted.worst_case == Amount():
            answer = Grant(wanted.lease_id, self._name, Amount() if self._waiting else self._portion(wanted))
            return self._granted(account, wanted, answer)
        account.was_recalled = False  # what it has is too little for it, and may be enough for another
        self._waiting[worker] = wanted  # at its end, or in the place it has
        return self._serve().get(worker)

    def spent(self, worker: int, record: AttemptRecord) -> None:
        account = self._accounts[worker]
        charged = Amount(record.charged_tokens, record.cost_micro_usd or 0)
        if record.outcome is None:
            account.under_way[record.attempt_id] = charged
            account.tokens.leave(charged.tokens)
            account.micro_usd.leave(charged.micro_usd)
            return
        held = account.under_way.pop(record.attempt_id, Amount())
        is_unknown = record.usage is None
        account.tokens.end(held.tokens, charged.tokens, is_unknown=is_unknown)
        account.micro_usd.end(held.micro_usd, charged.micro_usd, is_unknown=is_unknown)
        account.was_recalled = False
        self._lower_need(worker, Amount(held.tokens - charged.tokens, held.micro_usd - charged.micro_usd))
        self._tell_all(self._serve())

    def returned(self, worker: int, amount: Amount) -> None:
        account = self._accounts[worker]
        back = Amount(min(amount.tokens, account.rest.tokens), min(amount.micro_usd, account.rest.micro_usd))
        account.grant(Amount(-back.tokens, -back.micro_usd))
        account.was_recalled = False
        self._lower_need(worker, Amount(-back.tokens, -back.micro_usd))
        self._tell_all(self._serve())

    def withhold(self, worker: int) -> Amount:
        account = self._accounts.get(worker)
        return Amount() if account is None else Amount(account.tokens.withhold(), account.micro_usd.withhold())

    def dismiss(self, worker: int) -> None:
        account = self._accounts.pop(worker, None)
        self._waiting.pop(worker, None)
        if account is not None:
            account.tokens.close()
            account.micro_usd.close()
            self._tell_all(self._serve())

    def caps_changed(self) -> None:
        is_capped = self._budget.tokens.total is not None or self._budget.micro_usd.total is not None
        for worker, account in self._accounts.items():
            if account.was_refused or (is_capped and not account.is_leased):
                account.was_refused = False
                self._tell(worker, Grant("", self._name, Amount()))
        self._tell_all(self._serve())

    # --- how ---------------------------------------------------------------------------------------------------------

    def _serve(self) -> dict[int, Grant]:
        """Answer those who wait, in turn, as far as there is something to say; call others' idle leases back."""
        answers: dict[int, Grant] = {}
        while self._waiting:
            worker, wanted = next(iter(self._waiting.items()))
            account = self._accounts[worker]
            answer = self._answer(account, wanted)
            if answer is None:
                self._recall(self._lack(account, wanted), but={worker, *answers})
                break
            del self._waiting[worker]
            answers[worker] = self._granted(account, wanted, answer)
        return answers

    def _answer(self, account: _Account, wanted: LeaseWanted) -> Grant | None:
        """Return what is to be said to the next in turn; None where that is not known yet."""
        if too_small := self._too_small(wanted.worst_case):
            return Grant(wanted.lease_id, self._name, Amount(), is_last=True, left=too_small)
        if not self._budget.tokens.fits_now(account.tokens.more_held(wanted.need.tokens)):
            return None
        if not self._budget.micro_usd.fits_now(account.micro_usd.more_held(wanted.need.micro_usd)):
            return None
        return Grant(wanted.lease_id, self._name, self._portion(wanted))

    def _portion(self, wanted: LeaseWanted) -> Amount:
        sharers = 2 * len(self._accounts)

        def of(want: int, need: int, free: int | None) -> int:
            return max(0, need, want if free is None else min(want, max(0, free) // sharers))

        return Amount(
            of(wanted.want.tokens, wanted.need.tokens, self._budget.tokens.remaining()),
            of(wanted.want.micro_usd, wanted.need.micro_usd, self._budget.micro_usd.remaining()),
        )

    def _too_small(self, worst_case: Amount) -> tuple[Left, ...]:
        too_small: list[Left] = []
        if not self._budget.may_have_room_for(worst_case.tokens):
            too_small.append(Left("tokens", *self._budget.standing("tokens")))
        if not self._budget.may_afford(worst_case.micro_usd):
            too_small.append(Left("usd", *self._budget.standing("usd")))
        return tuple(too_small)

    def _granted(self, account: _Account, wanted: LeaseWanted, answer: Grant) -> Grant:
        account.grant(answer.amount)
        largest = Amount() if answer.is_last else wanted.largest  # one that was refused will not leave
        window = Caps(account.tokens.open_window(largest.tokens), account.micro_usd.open_window(largest.micro_usd))
        account.granted = replace(answer, window=window)
        account.was_refused = answer.is_last
        account.was_recalled = False
        return account.granted

    def _lack(self, account: _Account, wanted: LeaseWanted) -> Amount:
        """Return what is missing for the next in turn."""
        tokens, micro_usd = self._budget.tokens.remaining(), self._budget.micro_usd.remaining()
        return Amount(
            0 if tokens is None else account.tokens.more_held(wanted.need.tokens) - tokens,
            0 if micro_usd is None else account.micro_usd.more_held(wanted.need.micro_usd) - micro_usd,
        )

    def _recall(self, lack: Amount, *, but: set[int]) -> None:
        """Ask for what is missing: first those who seem to have most, and no more of them than that takes."""
        others = [(one.rest, worker, one) for worker, one in self._accounts.items() if worker not in but]
        others.sort(key=lambda other: (other[0].tokens, other[0].micro_usd), reverse=True)
        for rest, worker, account in others:
            if rest == Amount() or (lack.tokens <= 0 and lack.micro_usd <= 0):
                return
            lack = Amount(lack.tokens - rest.tokens, lack.micro_usd - rest.micro_usd)
            if not account.was_recalled:
                account.was_recalled = True
                self._tell(worker, Recall(self._name))

    def _lower_need(self, worker: int, freed: Amount) -> None:
        """Keep in step what a worker that waits lacks, with what it got free itself, or gave back."""
        wanted = self._waiting.get(worker)
        if wanted is not None:
            # It may fall below nothing: what is given back later counts from there.
            need = Amount(wanted.need.tokens - freed.tokens, wanted.need.micro_usd - freed.micro_usd)
            self._waiting[worker] = replace(wanted, need=need)

    def _tell_all(self, answers: dict[int, Grant]) -> None:
        for worker, answer in answers.items():
            self._tell(worker, answer)
