"""The live state: what it says of a fleet after any messages, and that it never grows without end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.detector import alert_id, step
from streams.alerts.policy import default_limits
from streams.alerts.state import RenditionState, StreamState
from streams.errors import EventError
from streams.events import AlertAcknowledgement, ModelRef, ModelUpdate, QualityAlert, SecondOpinion, SegmentScore
from streams.web import live as live_module
from streams.web.courses import POINTS, Courses, usual_signals
from streams.web.hub import Hub
from streams.web.labels import LabelFilter
from streams.web.live import FORGET_SECONDS, Live
from streams.web.pictures import Picture, Pictures
from streams.web.pulse import Pulse
from streams.web.reading import SIGNALS, read_score
from streams.web.stream import NO_ALERT, URGENCY, Row
from streams.web.wire import Feed
from tests.support.alerts import BEGIN, SECONDS, make_score

START = BEGIN.timestamp()


def feed(live: Live, scores: Iterable[SegmentScore], lag: float = 1.0) -> None:
    for score in scores:
        data = score.to_bytes()
        live.add_score(read_score(data), data, score.start.timestamp() + score.duration + lag)


def row(live: Live, stream: str = "channel", now: float | None = None) -> Row:
    found = live.streams[stream]
    return live.row(found, found.received + 1 if now is None else now)


def make_alert(
    kind: str = "low-quality", stream: str = "channel", state: str = "firing", began: datetime = BEGIN, **fields: object
) -> QualityAlert:
    return QualityAlert(
        alert_id=alert_id(stream, "", kind, began), stream_id=stream, kind=kind, state=state, started_at=began, value=20,
        segment_id="s", ended_at=began + timedelta(seconds=30) if state == "resolved" else None, **fields,
    )  # fmt: skip


def make_ack(alert: QualityAlert, until: datetime | None = None) -> AlertAcknowledgement:
    return AlertAcknowledgement(alert_id=alert.alert_id, by="Ada", at=BEGIN, stream_id=alert.stream_id, until=until)


def test_a_row_says_how_its_stream_is() -> None:
    live = Live()
    feed(live, [make_score(number, 70, uncertainty=6, timing={"lag_s": 1.5}, labels={"tier": "premium"}) for number in range(5)])
    now = row(live)
    assert (now.state, now.score, now.uncertainty, now.lag, now.rank, now.alerts) == ("ok", 70, 6, 1.5, NO_ALERT, ())
    assert now.smoothed == pytest.approx(70)
    assert now.labels == {"tier": "premium"}
    assert now.at == START + 5 * SECONDS
    feed(live, [make_score(5, None)])
    assert row(live).state == "skipped"
    feed(live, [make_score(6, 70, black=1.0)])
    assert row(live).state == "black"
    feed(live, [make_score(7, 70, freeze=1.0)])
    assert row(live).state == "frozen"
    feed(live, [make_score(8, 70, ended=True)])
    assert row(live).state == "ended"


def test_a_score_grows_old_after_three_segments() -> None:
    live = Live()
    feed(live, [make_score(0)])
    received = live.streams["channel"].received
    assert row(live, now=received + 5.9).state == "ok"
    live.changes()
    live.tick(received + 5.9)
    assert not live.changes().streams
    live.tick(received + 6.1)
    assert live.changes().streams == {"channel"}
    assert row(live, now=received + 6.1).state == "stale"


@given(scores=st.lists(st.one_of(st.none(), st.floats(1, 99)), min_size=1, max_size=60))
def test_the_smoothed_and_the_usual_score_are_the_alert_agents(scores: list[float | None]) -> None:
    """What the wall averages by itself, where alerts are off, is what it would have been told."""
    live, state = Live(), StreamState("channel")
    for number, value in enumerate(scores):
        score = make_score(number, value)
        feed(live, [score])
        state, _ = step(state, score, default_limits())
    told, own = state.renditions[""], live.streams["channel"].renditions[""]
    if told.smoothed is None:
        assert own.smoothed is None
    else:
        assert own.smoothed == pytest.approx(told.smoothed)
        assert min(99, *filter(None, scores)) - 1e-6 <= own.usual <= max(filter(None, scores)) + 1e-6


def test_a_large_models_score_does_not_look_like_a_change() -> None:
    live = Live()
    small = SecondOpinion(score=70, model=ModelRef(name="nano", version="1"))
    feed(live, [make_score(0, 70), make_score(1, 40, shallow=small, tier="deep"), make_score(2, 70)])
    assert row(live).smoothed == pytest.approx(70)
    assert live.courses.last(live.streams["channel"].renditions[""].row).score.tolist() == [70, 40, 70]


@given(order=st.permutations(range(8)), repeats=st.lists(st.integers(0, 7), max_size=8))
def test_repeats_and_late_segments_change_nothing(order: list[int], repeats: list[int]) -> None:
    live = Live()
    feed(live, [make_score(number, 60) for number in [*order, *repeats]])
    course = live.courses.last(live.streams["channel"].renditions[""].row)
    assert (np.diff(course.time) > 0).all()
    assert course.time[-1] == START + 7 * SECONDS


def test_the_start_from_the_alert_agents_states() -> None:
    limits, state = default_limits(), StreamState("channel")
    for number in range(40):
        state, _ = step(state, make_score(number, 70 if number < 20 else 20, labels={"tier": "free"}), limits)
    live = Live()
    live.add_state("channel", state, first=True)
    end = START + 40 * SECONDS
    now = row(live, now=end + 1)
    assert now.smoothed == pytest.approx(state.renditions[""].smoothed)
    assert now.usual == pytest.approx(state.renditions[""].baseline)
    assert {live.alerts[id].kind for id in now.alerts} == {"low-quality", "quality-drop"}
    assert now.labels == {"tier": "free"}
    # The scores of the last two minutes come next; the usual score stays what the agent says.
    feed(live, [make_score(number, 20) for number in range(30, 45)])
    assert row(live).usual == pytest.approx(state.renditions[""].baseline)
    live.add_state("channel", None)
    assert not live.streams
    assert live.changes().gone == {"channel"}


def test_of_two_renditions_the_worse_one_is_told() -> None:
    live = Live()
    for number in range(3):
        feed(live, [make_score(number, 80, rendition="1080p"), make_score(number, 30, rendition="480p")])
    assert row(live).rendition == "480p"
    alert = make_alert("quality-drop", rendition="1080p")
    live.add_alert(alert)
    assert row(live).rendition == "1080p", "an alert goes before a score"
    assert row(live).state == "quality-drop"


@given(
    kinds=st.lists(st.sampled_from(URGENCY), min_size=2, max_size=7, unique=True),
    seen=st.sets(st.integers(0, 6)),
)
def test_the_worst_alert_that_nobody_has_seen_comes_first(kinds: list[str], seen: set[int]) -> None:
    live = Live()
    for number, kind in enumerate(kinds):
        feed(live, [make_score(0, 50, stream=f"stream {number}")])
        alert = make_alert(kind, f"stream {number}")
        live.add_alert(alert)
        if number in seen:
            live.set_ack(alert.alert_id, make_ack(alert))
    rows = sorted(live.rows(START + 2), key=Row.worst_first)
    unseen = [row for row in rows if not row.acked]
    assert rows[: len(unseen)] == unseen, "what somebody has seen stands after what nobody has"
    ranks = [URGENCY.index(live.alerts[row.alerts[0]].kind) for row in unseen]
    assert ranks == sorted(ranks)


def test_an_acknowledgement_ends_at_its_time() -> None:
    live = Live()
    feed(live, [make_score(0, 50)])
    alert = make_alert()
    live.add_alert(alert)
    live.set_ack(alert.alert_id, make_ack(alert, until=BEGIN + timedelta(seconds=100)))
    assert row(live, now=START + 3).acked
    live.changes()
    live.tick(START + 101)
    assert alert.alert_id in live.changes().alerts
    assert not row(live, now=START + 101).acked


def test_an_acknowledgement_ends_also_while_the_wall_was_busy() -> None:
    live = Live()
    feed(live, [make_score(0, 50)])
    alert = make_alert(kind="no-segments")  # no score comes that would make the row anew
    live.add_alert(alert)
    live.set_ack(alert.alert_id, make_ack(alert, until=BEGIN + timedelta(seconds=100)))
    live.tick(START + 90)
    assert row(live, now=START + 90).acked
    live.changes()
    live.tick(START + 150)
    assert live.changes().alerts == [alert.alert_id]
    assert not row(live, now=START + 150).acked
    live.tick(START + 151)
    assert live.changes().alerts == []


def test_a_repeated_alert_changes_nothing_and_one_that_is_over_stays_over() -> None:
    live = Live()
    feed(live, [make_score(0)])
    firing, over = make_alert(), make_alert(state="resolved")
    for alert in (firing, firing, over):
        live.add_alert(alert)
    live.changes()
    for alert in (firing, over):
        live.add_alert(alert)
    assert not live.changes().alerts
    assert live.firing() == []
    assert live.alerts[firing.alert_id].state == "resolved"


def test_an_old_alert_makes_no_stream() -> None:
    live = Live()
    live.add_alert(make_alert(state="resolved"))
    assert not live.streams
    assert len(live.alerts) == 1


def test_nothing_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_STREAMS", 20)
    monkeypatch.setattr(live_module, "MOST_ALERTS", 15)
    live = Live()
    for number in range(100):
        feed(live, [make_score(number, stream=f"stream {number}")])
        live.add_alert(make_alert("black", "stream x", "resolved", BEGIN + timedelta(seconds=number)))
    assert set(live.streams) == {f"stream {number}" for number in range(80, 100)}, "who was silent for longest goes first"
    assert len(live.alerts) == 15
    for number in range(60):
        feed(live, [make_score(number, rendition=f"r{number}")])
    assert len(live.streams["channel"].renditions) == live_module.MOST_RENDITIONS
    live.tick(START + 200 * SECONDS + FORGET_SECONDS + 10)
    assert not live.streams


def test_numbers_that_json_does_not_have_reach_no_browser() -> None:
    live = Live()
    hostile = StreamState("channel", {"": RenditionState(1, BEGIN, BEGIN, smoothed=float("nan"), baseline=float("inf"))})
    live.add_state("channel", hostile, first=True)
    frame = Feed(live, LabelFilter()).snapshot(START)
    json.loads(frame, parse_constant=lambda name: pytest.fail(name))
    assert row(live, now=START + 1).usual is None
    data = make_score(1).to_bytes()[:-1] + b',"extra":NaN}'
    live.watched["channel"] = []
    live.add_score(read_score(data), data, START + 4)
    hub = Hub(live, lambda: START + 4)
    browser = hub.join(LabelFilter())
    assert browser is not None
    hub.watch(browser, "channel")
    hub.step(1)
    texts = [text for _ in range(browser.queue.qsize()) for text in browser.queue.get_nowait()]
    assert any('"event"' in text for text in texts)
    for text in texts:
        json.loads(text, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "2500-01-01T00:00:00Z"])
def test_a_start_that_no_segment_has_is_an_error(start: str) -> None:
    data = make_score(1).to_bytes().replace(b"2026-03-01T12:00:02Z", start.encode())
    assert start.encode() in data
    with pytest.raises(EventError, match="start"):
        read_score(data)


@pytest.mark.parametrize("data", [None, b"", b"{}", b"[]", b"\xff", b'{"stream_id": "a"}', b"x" * 600_000, b"[" * 100_000])
def test_what_is_no_score_is_an_error(data: bytes | None) -> None:
    with pytest.raises(EventError):
        read_score(data)


def test_a_reading_says_what_the_whole_event_says() -> None:
    score = make_score(3, 42.5, uncertainty=7.25, rendition="720p", labels={"a": "b"})
    reading = read_score(score.to_bytes())
    for name in ("stream_id", "segment_id", "start", "duration", "score", "uncertainty", "rendition", "labels", "status"):
        assert getattr(reading, name) == getattr(score, name)
    assert dict(zip(SIGNALS, reading.signal_values(), strict=True))["contrast"] == 30


@given(st.lists(st.integers(0, 2), max_size=3 * POINTS // 100), st.integers(1, 7))
def test_a_ring_keeps_the_last_points(rows: list[int], points: int) -> None:
    courses = Courses(points)
    places = [courses.take() for _ in range(3)]
    kept: dict[int, list[float]] = {place: [] for place in places}
    for at, number in enumerate(rows):
        courses.add(places[number], at, at / 2, [0.0] * len(SIGNALS))
        kept[places[number]].append(at)
    for place in places:
        assert courses.last(place).time.tolist() == kept[place][-points:]
        assert courses.last(place, 2).time.tolist() == kept[place][-min(2, points) :]
    courses.free(places[0])
    assert courses.take() == places[0]
    assert len(courses.last(places[0]).time) == 0


def test_rows_of_the_courses_survive_their_growth() -> None:
    courses = Courses()
    places = [courses.take() for _ in range(1000)]
    for place in places:
        courses.add(place, place, place % 100, [float("nan")] * len(SIGNALS))
    places += [courses.take() for _ in range(500)]
    assert len(set(places)) == 1500
    assert all(courses.last(place).score.tolist() == [place % 100] for place in places[:1000])
    assert usual_signals(courses.last(places[0])) == dict.fromkeys(SIGNALS)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40))
def test_pictures_are_the_last_the_last_good_and_the_first_bad_one(course: list[tuple[int, bool]]) -> None:
    pictures, taken = Pictures(), []
    for start, good in course:
        picture = Picture(b"", f"{start}", float(start), 50, 1, 1)
        if not taken or start > taken[-1][0]:
            taken.append((start, good))
        pictures = pictures.with_picture(picture, good)
    starts = lambda one: None if one is None else int(one.start)  # noqa: E731
    assert starts(pictures.last) == (taken[-1][0] if taken else None)
    assert starts(pictures.last_good) == max((start for start, good in taken if good), default=None)
    bad_runs = [
        start for (start, good), before in zip(taken, [True, *(good for _, good in taken)], strict=False) if before and not good
    ]
    assert starts(pictures.first_bad) == (bad_runs[-1] if bad_runs else None)


def test_both_pictures_of_a_bad_stretch_are_kept_when_it_is_over() -> None:
    pictures = Pictures()
    for start, good in [(1, True), (2, True), (3, False), (4, False), (5, True), (6, True)]:
        pictures = pictures.with_picture(Picture(b"", f"{start}", float(start), 50, 1, 1), good)
    good_before, first_bad = pictures.around(2.5)
    assert good_before is not None
    assert first_bad is not None
    assert (good_before.segment_id, first_bad.segment_id) == ("2", "3")
    assert pictures.of_segment("2") is good_before
    # A time within the bad stretch: what is good now is never shown as the bad one.
    assert pictures.around(3.5) == (good_before, None)


def test_a_picture_is_bad_under_the_usual_score_or_while_an_alert_fires() -> None:
    live = Live()
    feed(live, [make_score(number, 85) for number in range(20)])
    for number, (score, expected) in enumerate([(84, "good"), (65, "bad"), (84, "good"), (30, "bad"), (None, "bad")]):
        live.add_picture("channel", Picture(b"", str(number), START + number, score, 1, 1))
        kept = live.streams["channel"].pictures
        assert (kept.last_good is kept.last) == (expected == "good"), number
    live.add_alert(make_alert("black"))
    live.add_picture("channel", Picture(b"", "9", START + 9, 84, 1, 1))
    assert live.streams["channel"].pictures.last_good is not live.streams["channel"].pictures.last
    live.add_picture("channel", None)
    assert live.streams["channel"].pictures == Pictures()


def test_the_pulse_counts_scores_and_shares() -> None:
    pulse = Pulse()
    for second in range(100):
        for _ in range(9):
            pulse.count(1000 + second + 0.5, skipped=False)
        pulse.count(1000 + second + 0.7, skipped=True)
    scored, share = pulse.rates(1100)
    assert scored == pytest.approx(9, abs=0.2)
    assert share == pytest.approx(0.1)
    assert pulse.rates(2000)[1] is None
    assert pulse.letters_per_minute(1100) is None
    for second in range(0, 90, 10):
        pulse.note_letters(1000 + second, second * 2)
    assert pulse.letters_per_minute(1080) == pytest.approx(120)


def test_the_fleets_median_before_and_after_a_models_change() -> None:
    pulse = Pulse()
    for second in range(400):
        pulse.note_median(1000 + second, 70 if second < 200 else 64)
    update = ModelUpdate(name="nano", version="2", before="1", time=datetime.fromtimestamp(1200, UTC))
    pulse.note_update(update)
    pulse.note_update(update)
    (shift,) = pulse.shifts()
    assert (shift.before, shift.after) == (70, 64)
    late = update.model_copy(update={"time": datetime.fromtimestamp(1395, UTC)})
    pulse.note_update(late)
    assert pulse.shifts()[0].after is None
    assert replace(shift, after=None) != shift


def test_pictures_leave_the_memory_after_their_time_and_with_the_label_that_forbids_them() -> None:
    live, begin = Live(picture_seconds=3600), START
    for stream in ("channel", "shy"):
        live.add_picture(stream, Picture(b"first", f"{stream}/1", begin, 20.0, 160, 90))
        live.add_picture(stream, Picture(b"second", f"{stream}/2", begin + 3000, 80.0, 160, 90))
    live.tick(begin + 3500)
    assert live.streams["channel"].pictures.of_segment("channel/1") is not None
    live.tick(begin + 3700)
    kept = live.streams["channel"].pictures
    assert kept.of_segment("channel/1") is None
    assert kept.last is not None
    assert kept.last.jpeg == b"second"
    feed(live, [make_score(1, 80.0, stream="shy", labels={"store": "No"})])
    live.add_picture("shy", Picture(b"on its way", "shy/3", begin + 3700, 80.0, 160, 90))
    assert live.streams["shy"].pictures == Pictures()
