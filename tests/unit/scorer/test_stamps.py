"""Stamps as seconds."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling.stamps import in_seconds

WHOLE = st.integers(1, 2**31 - 1)


@given(stamp=st.integers(-(2**63), 2**63 - 1), numerator=WHOLE, denominator=WHOLE)
@settings(deadline=None)
def test_seconds_are_the_fraction_rounded_once(stamp: int, numerator: int, denominator: int) -> None:
    tick = Fraction(numerator, denominator)
    assert in_seconds(stamp, tick) == float(stamp * tick)
