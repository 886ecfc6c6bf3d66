"""The fleet in numbers: what a monitor outside reads by a field's name."""

from __future__ import annotations

import pytest

from streams.web.labels import LabelFilter
from streams.web.live import Live
from streams.web.summary import Summary, summary_of
from tests.support.alerts import make_score
from tests.unit.web.test_live import START, feed, make_ack, make_alert

FIELDS = {"black": "black", "frozen": "frozen", "silent": "silent", "no-segments": "no_segments", "no-face": "no_face"}


def summary(live: Live, now: float = START + 3) -> Summary:
    return summary_of(live, LabelFilter(), now)


def kinds_of(told: Summary) -> dict[str, int]:
    """The fields about kinds of alerts that are not 0."""
    return {field: count for field in FIELDS.values() if (count := getattr(told, field))}


@pytest.mark.parametrize("signals", [{"black": 1.0}, {"freeze": 1.0}])
def test_a_segment_alone_is_no_alert(signals: dict[str, float]) -> None:
    live = Live()
    feed(live, [make_score(0), make_score(1, **signals)])
    assert kinds_of(summary(live)) == {}
    assert summary(live).alerts == 0


@pytest.mark.parametrize("kind", FIELDS)
def test_an_alert_counts_also_where_its_stream_has_no_score_of_now(kind: str) -> None:
    live = Live()
    feed(live, [make_score(0)])
    alert = make_alert(kind)
    live.add_alert(alert)
    for seen in (False, True):
        if seen:
            live.set_ack(alert.alert_id, make_ack(alert))
        for now in (START + 3, START + 60):
            live.tick(now)
            assert kinds_of(summary(live, now)) == {FIELDS[kind]: 1}
    assert summary(live, START + 60).stale == (0 if kind == "no-segments" else 1)


def test_a_stream_counts_once_by_its_worst_alert_and_a_silence_comes_first() -> None:
    live = Live()
    feed(live, [make_score(0)])
    for kind, counted in (("frozen", "frozen"), ("black", "black"), ("no-segments", "no_segments")):
        live.add_alert(make_alert(kind))
        assert kinds_of(summary(live)) == {counted: 1}
    assert live.row(live.streams["channel"], START + 3).state == "no-segments", "as the page says"
    assert summary(live).alerts == 3
