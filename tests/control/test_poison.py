"""Whether it is the request, or only bad luck."""

import pytest

from agent_pipeline.control.poison import FAILURES, Evidence, Poison


def failures_of(poison: Poison, fingerprint: str, code: str = "server_error", *, times: int = 1) -> list[bool]:
    """Fail a watched request so often; return whether each was too many."""
    return [poison.fail(fingerprint, code) is not None for _ in range(times)]


def passed(poison: Poison, count: int, *, failed: int = 0) -> None:
    """Let others pass, so many of which failed once."""
    begun = poison.mark()
    for number in range(count):
        if number < failed:
            poison.suspect(f"other {number}", begun)
            poison.fail(f"other {number}", "server_error")
        poison.succeed(f"other {number}")
        if number < failed:
            poison.forget(f"other {number}")


@pytest.mark.parametrize(
    ("others", "failing", "needed"),
    [(49, 0, 3), (20, 0, 3), (19, 0, 4), (9, 0, 4), (7, 0, 5), (5, 0, 5), (100, 5, 4), (1, 0, 9)],
)
def test_the_more_others_pass_the_fewer_failures_it_takes(others: int, failing: int, needed: int) -> None:
    """Three at least; as many as chance alone gives a healthy request once in 10,000."""
    poison = Poison()
    begun = poison.mark()
    poison.suspect("bad", begun)
    passed(poison, others, failed=failing)

    assert failures_of(poison, "bad", times=needed) == [False] * (needed - 1) + [True]


def test_the_evidence_says_how_often_and_among_how_many() -> None:
    """It is what the error tells."""
    poison = Poison()
    poison.suspect("bad", poison.mark())
    passed(poison, 30)
    failures_of(poison, "bad", times=FAILURES - 1)

    assert poison.fail("bad", "server_error") == Evidence(FAILURES, 30)


def test_what_passed_before_is_no_evidence() -> None:
    """The provider may have fallen ill since."""
    poison = Poison()
    passed(poison, 1_000)
    poison.suspect("bad", poison.mark())

    assert not any(failures_of(poison, "bad", times=100))


def test_another_class_of_error_begins_anew() -> None:
    """A timeout, then a 500, then a lost connection: that is a bad day, not a bad request."""
    poison = Poison()
    poison.suspect("bad", poison.mark())
    passed(poison, 49)

    assert failures_of(poison, "bad", "server_error", times=2) == [False, False]
    assert failures_of(poison, "bad", "attempt_timeout", times=3) == [False, False, True]


def test_its_own_success_clears_a_request() -> None:
    """Two calls may ask the same; one that was answered shows that it can be."""
    poison = Poison()
    poison.suspect("bad", poison.mark())
    passed(poison, 49)
    failures_of(poison, "bad", times=2)
    poison.succeed("bad")

    assert failures_of(poison, "bad", times=3) == [False, False, True]


def test_calls_that_ask_the_same_count_together() -> None:
    """And the request is kept until the last of them has ended, measured from the first."""
    poison = Poison()
    poison.suspect("bad", poison.mark())
    passed(poison, 49)
    poison.suspect("bad", poison.mark())
    failures_of(poison, "bad", times=2)
    poison.forget("bad")

    assert failures_of(poison, "bad") == [True]
    assert len(poison) == 1
    poison.forget("bad")
    assert len(poison) == 0


def test_several_bad_requests_do_not_excuse_each_other() -> None:
    """They fail many times, but they are few: what counts is how many of the others fail at all."""
    poison, begun = Poison(), Poison().mark()
    for bad in "abc":
        poison.suspect(bad, begun)
    passed(poison, 70)

    assert [failures_of(poison, bad, times=3) for bad in "abc"] == [[False, False, True]] * 3
