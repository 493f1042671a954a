"""The cooldown by itself: permissions that a pause takes back, and endings that come too late to matter."""

from agent_pipeline.control.cooldown import LONGEST_PAUSE, LONGEST_WAVE, SHORTEST_WAVE, Cooldown

MANY = 100


def probing(cooldown: Cooldown) -> int:
    """Let a pause of ten seconds end and the probe go; return its epoch."""
    cooldown.begin(0, 10)
    assert not cooldown.may_go(9.9, MANY)
    assert cooldown.may_go(10, MANY)
    assert cooldown.go()
    assert not cooldown.may_go(10, MANY)
    return cooldown.epoch


def gone(cooldown: Cooldown, now: float, limit: int = MANY) -> int:
    """Let as many go as may, at most a thousand; return how many."""
    count = 0
    while count < 1_000 and cooldown.may_go(now, limit):
        cooldown.go()
        count += 1
    return count


def test_waves_follow_each_other_by_as_long_as_the_probe_took() -> None:
    """Long enough to see whether one is refused; not longer than half a second, not shorter than a tenth."""
    for took, interval in ((0.0, SHORTEST_WAVE), (0.3, 0.3), (20.0, LONGEST_WAVE)):
        cooldown = Cooldown()
        cooldown.pass_probe(probing(cooldown), 20, took)
        now, sizes = 20.0, list[int]()
        for _ in range(3):
            sizes.append(gone(cooldown, now))
            now += interval

        assert sizes == [2, 4, 8]
        assert cooldown.opens_at() == now


def test_a_wave_as_large_as_the_limit_is_the_end_of_it() -> None:
    """Then places are all that counts."""
    cooldown = Cooldown()
    cooldown.pass_probe(probing(cooldown), 20, 0.3)

    assert gone(cooldown, 20.0, limit=8) == 2
    assert gone(cooldown, 25.0, limit=8) == 1_000


def test_what_is_not_used_of_a_wave_does_not_add_up() -> None:
    """A lane that was idle for a while goes on where it would have been."""
    cooldown = Cooldown()
    cooldown.pass_probe(probing(cooldown), 20, 0.5)

    assert gone(cooldown, 21.0) == 8


def test_the_ending_of_an_earlier_probe_changes_nothing() -> None:
    """A refusal that came meanwhile counts for more than an answer to what was sent before it."""
    cooldown = Cooldown()
    earlier = probing(cooldown)
    cooldown.begin(11, 5)

    cooldown.pass_probe(earlier, 12, 1)
    cooldown.hand_on(earlier)
    assert not cooldown.may_go(15.9, MANY)
    assert gone(cooldown, 16) == 1
    cooldown.hand_on(earlier)
    assert gone(cooldown, 16) == 0


def test_pauses_between_probes_end_growing() -> None:
    """However often one is refused, it is tried again within a minute."""
    cooldown = Cooldown()
    now = 0.0
    for _ in range(100):
        cooldown.refuse_probe(now)
        now = cooldown.end

    cooldown.refuse_probe(now)

    assert cooldown.end == now + LONGEST_PAUSE
