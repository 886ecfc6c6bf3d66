"""The seeded fleet on which the wall is tested: a test of it must not pass at one time and fail at another."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fleet import Fleet


def content(fleet: Fleet) -> dict[str, Any]:
    """What the fleet shows, without its times and what is made of them."""
    live = fleet.live
    return {
        "scores": {
            channel.id: [(score.segment_id, score.score, score.tier, score.uncertainty) for score in channel.scores]
            for channel in fleet.channels
        },
        "alerts": [(alert.stream_id, alert.kind, alert.value, alert.alert_id in live.acks) for alert in live.firing()],
        "clips": [(clip.segment_id, clip.reason, clip.labels) for clip in fleet.examples],
        "pictures": {
            stream.id: [picture.segment_id if picture else None for picture in (stream.pictures.last, stream.pictures.first_bad)]
            for stream in live.streams.values()
        },
        "shifts": [(shift.before, shift.after) for shift in live.pulse.shifts()],
    }


@pytest.mark.parametrize("later", [0.25, 86.625, 31_536_000.111])
def test_one_seed_makes_one_fleet_at_any_time(later: float) -> None:
    first, second = Fleet(40, now=1_750_000_000.0), Fleet(40, now=1_750_000_000.0 + later)
    for fleet in (first, second):
        fleet.play(fleet.now + 5)
    assert content(first) == content(second)
