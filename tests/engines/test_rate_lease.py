"""What one worker does with what it is granted of a minute, without a driver."""

from dataclasses import dataclass, field

from agent_pipeline.engines.leases.rate_lease import PATIENCE, RateLease
from agent_pipeline.engines.messages import LimitsAnnounced, RateGrant, RateTaken, RateUsed, RateWanted

LANE = ("openai", "tiny")


@dataclass
class Desk:
    """A lease of one lane, what it said, and a clock that is set by hand."""

    said: list[object] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.lease = RateLease(*LANE, self.said.append, lambda: None, lambda: self.now)
        self.lease.configure(60, None)

    def wanted(self) -> list[RateWanted]:
        """Return its questions."""
        return [one for one in self.said if isinstance(one, RateWanted)]

    def grant(self, requests: int, tokens: int) -> None:
        """Answer the newest one."""
        self.lease.answer(RateGrant(self.wanted()[-1].lease_id, *LANE, requests, tokens, 1.0))

    def reserve(self, tokens: int) -> bool:
        """Try to send a request."""
        return self.lease.reserve_nowait(self.now, tokens)


def test_a_question_is_asked_once_and_again_when_no_answer_comes() -> None:
    """With the same id, so that nothing is granted twice; an answer that comes twice counts once."""
    desk = Desk()

    assert not desk.reserve(40)
    assert not desk.reserve(40)
    assert desk.said == [RateWanted("openai tiny#1", *LANE, 4, 160, 40)]
    desk.now += PATIENCE
    desk.lease.beat()
    assert desk.said == [desk.said[0]] * 2

    answer = RateGrant("openai tiny#1", *LANE, 1, 40, 1.0)
    desk.lease.answer(answer)
    desk.lease.answer(answer)
    assert desk.reserve(40)
    assert not desk.reserve(40)


def test_a_request_that_was_not_sent_leaves_its_turn_to_another() -> None:
    """Nothing is asked for it."""
    desk = Desk()
    desk.reserve(40)
    desk.grant(1, 40)

    assert desk.reserve(40)
    desk.lease.release(40)

    assert desk.reserve(30)
    assert not [one for one in desk.said if isinstance(one, RateUsed)]


def test_what_is_too_little_for_the_next_is_given_back_with_the_question() -> None:
    """Else it would lie there while the driver waits for it."""
    desk = Desk()
    desk.reserve(40)
    desk.grant(2, 50)

    assert not desk.reserve(60)

    assert desk.said[1] == RateUsed(*LANE, 0, 0, 0, 2, 50)
    assert desk.wanted()[-1].first_tokens == 60


def test_what_was_used_is_told_together() -> None:
    """With what it took in place of what it might have."""
    desk = Desk()
    desk.reserve(40)
    desk.grant(8, 320)
    for used in (10, 20, 30):
        assert desk.reserve(40)
        desk.lease.settle(desk.now, reserved=40, actual=used)

    desk.lease.beat()
    desk.lease.beat()
    assert desk.said[1:] == [RateUsed(*LANE, 3, 120, 60)]

    desk.lease.close()
    assert desk.said[2:] == [RateUsed(*LANE, 0, 0, 0, 5, 200)]


def test_what_is_announced_is_told_when_it_is_new() -> None:
    """Every answer says it."""
    desk = Desk()

    for _ in range(3):
        desk.lease.announce(50, None)
    desk.lease.announce(None, 900)
    desk.lease.pause(130.0)
    desk.lease.pause(120.0)

    assert desk.said == [
        LimitsAnnounced(*LANE, 50, None),
        LimitsAnnounced(*LANE, 50, 900),
        LimitsAnnounced(*LANE, None, None, 30.0),
    ]
    assert not desk.reserve(40)
    assert desk.lease.earliest(desk.now, 40) == desk.lease.earliest(desk.now, 40, with_open=True) == 130.0
    assert not desk.wanted()


def test_before_it_is_leased_it_counts_for_itself_and_hands_that_over() -> None:
    """What went and what is in flight; once."""
    said: list[object] = []
    lease = RateLease(*LANE, said.append, lambda: None, lambda: 100.0)
    lease.configure(None, None)
    for _ in range(4):
        assert lease.reserve_nowait(100.0, 40)
    lease.release(40)
    lease.settle(100.0, reserved=40, actual=15)
    assert lease.earliest(100.0, 40) == 100.0

    lease.configure(60, None)
    lease.configure(70, None)

    assert said == [RateTaken(*LANE, 2, 80, 1, 15)]
