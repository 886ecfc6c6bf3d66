"""Which segments a Period ends with, whatever its units of time are."""

from __future__ import annotations

from fractions import Fraction

import pytest

from streams.ingest.dash.mpd import parse
from streams.ingest.dash.values import SECOND
from tests.support.manifests import URL, manifest, period, video
from tests.unit.ingest.test_dash_window import existing


@pytest.mark.parametrize("timescale", [1, 3, 1000, 90_000])
@pytest.mark.parametrize("end", ["4", "4.19", "4.21", "4.5", "5.9"])
@pytest.mark.parametrize("offset", [0, 1])
def test_a_rest_of_a_segment_is_a_segment_also_where_it_is_shorter_than_a_unit(timescale: int, end: str, offset: int) -> None:
    timing = f'timescale="{timescale}" duration="{2 * timescale}" presentationTimeOffset="{offset * timescale}"'
    body = manifest(
        period(video(f'<SegmentTemplate {timing} media="$Number$.m4s"/>')),
        kind="static", attributes=f'mediaPresentationDuration="PT{end}S"',
    )  # fmt: skip
    rest = Fraction(end) - 4
    shown = [Fraction(placed.length, SECOND) for placed in existing(parse(body, URL), 0)]
    assert shown == [2, 2, rest] if rest >= Fraction(1, 5) else shown == [2, 2]
