"""What each worker tells of its share of a limit is told as the limit of the whole run."""

from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.engines.driver.total_limits import TotalLimits


def change(old: int, new: int, model: str = "m") -> LimitChanged:
    """Return what a worker tells of its share."""
    return LimitChanged("p", model, old, new, "rate_limited")


def test_shares_are_added_up_for_each_model() -> None:
    """Who has not told of a model has what it began with."""
    limits = TotalLimits(workers=3, share=10)

    told = [limits.told(1, change(10, 8)), limits.told(2, change(10, 20)), limits.told(1, change(8, 4))]
    other = limits.told(1, change(10, 9, "other"))

    assert [(one.old, one.new) for one in told] == [(30, 28), (28, 38), (38, 34)]
    assert (other.model, other.old, other.new) == ("other", 30, 29)


def test_a_worker_in_the_place_of_another_begins_anew() -> None:
    """The share of one that is gone does not count any more; that of its successor does, before it tells of it."""
    limits = TotalLimits(workers=2, share=10)
    limits.told(1, change(10, 2))
    limits.told(2, change(10, 5))

    limits.forget(1)

    assert limits.told(2, change(5, 4)) == change(15, 14)
    assert limits.told(3, change(10, 8)) == change(14, 12)
