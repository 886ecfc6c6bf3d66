"""When an address may be asked again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.remote.circuit import FIRST_PAUSE, LONGEST_ASKED, LONGEST_PAUSE, Circuit


def test_each_failure_in_a_row_takes_twice_as_long() -> None:
    circuit, now, pauses = Circuit(), 100.0, []
    assert circuit.wait(now) == 0
    for _ in range(8):
        circuit = circuit.failed(now)
        pauses.append(circuit.wait(now))
        now += circuit.wait(now)
        assert circuit.wait(now) == 0, "then one request tries it"
    assert pauses == [FIRST_PAUSE, 1, 2, 4, *[LONGEST_PAUSE] * 4]


def test_an_answer_closes_it() -> None:
    circuit = Circuit().failed(0).failed(0).answered()
    assert circuit.wait(0) == 0
    assert circuit.failed(10).wait(10) == FIRST_PAUSE


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long_and_has_not_failed() -> None:
    circuit = Circuit().failed(0).failed(0).asked_to_wait(0, 3)
    assert circuit.wait(0) == 3
    assert circuit.asked_to_wait(3, 3).wait(3) == 3, "not twice as long"
    assert circuit.failed(3).wait(3) == FIRST_PAUSE


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10**9))))
def test_no_pause_is_longer_than_a_minute_whatever_a_server_asks(steps: list[tuple[bool, float]]) -> None:
    circuit = Circuit()
    for failed, asked in steps:
        circuit = circuit.failed(5, asked) if failed else circuit.asked_to_wait(5, asked)
        assert FIRST_PAUSE <= circuit.wait(5) <= LONGEST_ASKED
