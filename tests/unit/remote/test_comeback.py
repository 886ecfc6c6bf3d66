"""When a worker asks to go back to an address."""

from __future__ import annotations

from scorer.remote.comeback import LONGEST_AWAY, RETURN_SECONDS, Comeback


def test_each_return_that_fails_takes_twice_as_long() -> None:
    comeback, now, pauses = Comeback(), 1000.0, []
    for _ in range(6):
        assert comeback.is_due(now)
        comeback = comeback.tried(now).failed(now)
        pauses.append(comeback.until - now)
        assert not comeback.is_due(comeback.until - 1)
        now = comeback.until
    assert pauses == [2 * RETURN_SECONDS, 4 * RETURN_SECONDS, 8 * RETURN_SECONDS, *[LONGEST_AWAY] * 3]


def test_answers_for_a_minute_after_a_return_end_the_pauses() -> None:
    comeback = Comeback().tried(0).failed(0).tried(200)
    assert comeback.answered(259).failures == 1
    assert comeback.answered(260) == Comeback()


def test_failures_without_a_return_do_not_count() -> None:
    failed = Comeback().tried(0).failed(0)
    assert failed.failed(5).failed(10) == failed, "all addresses are away, and each is asked again and again"
    assert Comeback().failed(5) == Comeback(), "the first failure of an address in use"
