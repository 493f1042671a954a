"""Limits on requests in flight as those of the whole run, where each worker tells only of its own share."""

from dataclasses import dataclass, field, replace

from agent_pipeline.domain.limit_events import LimitChanged


@dataclass(frozen=True, slots=True)
class TotalLimits:
    """Adds up what workers tell of a model's limit; one that has not told of it has what it began with.

    >>> limits = TotalLimits(workers=2, share=10)
    >>> limits.told(1, LimitChanged("p", "m", 10, 8, "rate_limited"))
    LimitChanged(provider='p', model='m', old=20, new=18, reason='rate_limited')
    >>> limits.told(2, LimitChanged("p", "m", 10, 9, "rate_limited"))
    LimitChanged(provider='p', model='m', old=18, new=17, reason='rate_limited')

    Attributes:
        workers: how many there are at once.
        share: where the limit of each starts.
    """

    workers: int
    share: int
    _told: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)

    def told(self, worker: int, change: LimitChanged) -> LimitChanged:
        """Return the change of a worker's share as that of the whole."""
        of_model = self._told.setdefault((change.provider, change.model), {})
        of_model[worker] = change.old
        others = sum(of_model.values()) - change.old + self.share * max(0, self.workers - len(of_model))
        of_model[worker] = change.new
        return replace(change, old=others + change.old, new=others + change.new)

    def forget(self, worker: int) -> None:
        """Let another worker take this one's place; it begins anew."""
        for of_model in self._told.values():
            of_model.pop(worker, None)
