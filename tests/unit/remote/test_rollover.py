"""By which specification clips are sampled while replicas are replaced."""

from __future__ import annotations

from dataclasses import replace

from scorer.remote.rollover import CALM_SECONDS, LONGEST_PATIENCE, PATIENCE, Rollover
from tests.support.doubles import SPEC

OTHER = replace(SPEC, frames=6)


def test_the_specification_stays_while_a_replica_answers_by_it() -> None:
    state = Rollover.begin(SPEC, 0)
    for now in range(0, 60, 4):
        state = state.answered(now)
        assert state.wait(now + 4) > 0
    assert state.wait(56 + PATIENCE) == 0


def test_two_specifications_in_turn_are_taken_more_and_more_seldom() -> None:
    """Replicas of both kinds that each refuse half of the requests for ever."""
    state, now, changes = Rollover.begin(SPEC, 0), 0.0, []
    while now < 600:
        if state.wait(now) == 0:
            state = state.take(OTHER if state.spec == SPEC else SPEC, now)
            changes.append(now)
        now += 1
    assert len(changes) <= 12
    assert changes[-1] - changes[-2] >= LONGEST_PATIENCE


def test_after_a_calm_time_a_change_is_quick_again() -> None:
    state = Rollover.begin(SPEC, 0).take(OTHER, 10).take(SPEC, 20)
    assert state.wait(20) == 2 * PATIENCE
    assert state.take(OTHER, 20 + CALM_SECONDS).wait(20 + CALM_SECONDS) == PATIENCE
