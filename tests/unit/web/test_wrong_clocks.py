"""Clocks that are wrong, of a packager or of a worker: what is shown follows what comes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from streams.alerts.detector import step
from streams.alerts.policy import default_limits
from streams.alerts.state import StreamState
from streams.events import PICTURES_TOPIC, SCORES_TOPIC, SegmentScore
from streams.pictures import StreamPicture
from streams.web.follow import CHANGES
from streams.web.live import Live
from streams.web.pictures import Pictures
from streams.web.reading import read_score
from streams.web.rendition import BACK_SECONDS
from tests.support.alerts import BEGIN, SECONDS, make_score

START = BEGIN.timestamp()


def put(live: Live, score: SegmentScore, number: int) -> bool:
    """Take a score that comes as the stream's segment of this number."""
    return live.add_score(read_score(score.to_bytes()), score.to_bytes(), START + (number + 1) * SECONDS + 1)


def moved(score: SegmentScore, seconds: float, sequence: int | None = None) -> SegmentScore:
    """A score with another start, and another number."""
    number = score.sequence if sequence is None else sequence
    return score.model_copy(update={"start": score.start + timedelta(seconds=seconds), "sequence": number})


@pytest.mark.parametrize("restarts", [False, True], ids=["its numbers go on", "the encoder has restarted"])
def test_one_start_that_is_ahead_does_not_hide_what_follows(restarts: bool) -> None:
    live = Live()
    for number in range(60):
        score = moved(make_score(number, 90 if number < 20 else 15), 0, number - 20 if restarts and number >= 20 else number)
        assert put(live, moved(score, 3000) if number == 20 else score, number)
    stream = live.streams["channel"]
    now = live.row(stream, stream.received + 1)
    assert (now.state, now.score, now.at) == ("ok", 15, START + 60 * SECONDS)


def test_a_clock_that_is_set_back_goes_on_where_it_is() -> None:
    live = Live()
    for number in range(100):
        assert put(live, moved(make_score(number, 50), -40 if number >= 50 else 0), number)
    assert live.streams["channel"].renditions[""].until == START + 100 * SECONDS - 40


@pytest.mark.parametrize("by", [30.0, 1800.0, 7200.0])
@pytest.mark.parametrize("restarts", [False, True], ids=["its numbers go on", "the encoder has restarted"])
def test_a_wall_that_starts_after_a_clock_was_set_back_shows_what_comes(by: float, restarts: bool) -> None:
    def by_its_clock(number: int) -> SegmentScore:
        return moved(make_score(number), -by if number >= 100 else 0, number - 100 * (restarts and number >= 100))

    state = StreamState("channel")
    for number in range(150):
        written = BEGIN + timedelta(seconds=(number + 1) * SECONDS + 1)
        state, _ = step(state, by_its_clock(number), default_limits(), written)
    live = Live()
    live.add_state("channel", state, first=True)
    assert all(put(live, by_its_clock(number), number) for number in range(150, 160))


@pytest.mark.parametrize("by", [30.0, 300.0, 3500.0])
def test_a_clock_that_is_set_back_with_new_numbers_hides_a_stream_for_no_longer_than_a_silence_takes(by: float) -> None:
    live, patience = Live(), int(BACK_SECONDS / SECONDS)
    for number in range(100):
        put(live, make_score(number), number)
    taken = [put(live, moved(make_score(number, 30), -by, number - 100), number) for number in range(100, 200)]
    assert taken == [False] * patience + [True] * (100 - patience)
    stream = live.streams["channel"]
    now = live.row(stream, stream.received + 1)
    assert (now.state, now.score, now.at) == ("ok", 30, START + 200 * SECONDS - by)


def test_segments_of_before_that_come_again_are_no_clock_that_is_set_back() -> None:
    live = Live()
    for number in range(200):
        assert put(live, make_score(number), number)
        assert number < 100 or not put(live, make_score(number - 100), number), "among new ones"
    assert not any(put(live, make_score(number), 200 + number // 4) for number in range(100)), "faster than they play"


@pytest.mark.parametrize("behind", [0, 30], ids=["live", "the scorer is a minute behind"])
def test_a_wall_that_starts_takes_no_score_again_that_the_alert_agent_had_read(behind: int) -> None:
    state = StreamState("channel")
    for number in range(100):
        written = BEGIN + timedelta(seconds=(number + behind + 1) * SECONDS + 1)
        state, _ = step(state, make_score(number), default_limits(), written)
    live = Live()
    live.add_state("channel", state, first=True)
    assert not any(put(live, make_score(number), number + behind) for number in range(60, 100))
    assert put(live, make_score(100), 100 + behind)


def test_repeats_from_before_a_restart_of_the_encoder_are_left_out() -> None:
    live = Live()
    before = [make_score(1000 + number, 80) for number in range(10)]
    since = [moved(make_score(1010 + number, 20), 0, number) for number in range(10)]
    before = [moved(score, -1000 * SECONDS) for score in before]
    since = [moved(score, -1000 * SECONDS) for score in since]
    for number, score in enumerate([*before, *since]):
        assert put(live, score, number)
    for score in [*before, *since]:
        assert not put(live, score, 20)
    assert live.streams["channel"].renditions[""].segment_id == since[-1].segment_id


def take_picture(live: Live, number: int, ahead: float = 0.0, score: float = 90) -> None:
    """Take the picture of a segment. ahead: seconds by which the packager's clock is."""
    start = BEGIN + timedelta(seconds=10 * number + ahead)
    told = StreamPicture("channel", f"s{number}", start, score, 160, 90, "routine", None, b"\xff\xd8\xff")
    record: Any = SimpleNamespace(
        key=told.key, value=told.jpeg, headers=list(told.headers().items()), timestamp=int((START + 10 * number + 3) * 1000)
    )
    change = CHANGES[PICTURES_TOPIC](record)
    assert change is not None
    change(live)


def pictures(live: Live) -> Pictures:
    return live.streams["channel"].pictures


def test_a_picture_from_the_future_is_followed_by_those_of_now() -> None:
    live = Live()
    take_picture(live, 0, ahead=2 * 86400)
    for number in range(1, 4):
        take_picture(live, number, score=10)
    kept = pictures(live)
    shown = (kept.last, kept.first_bad, kept.good_before)
    assert [picture.segment_id for picture in shown if picture is not None] == ["s3", "s1", "s0"]


@pytest.mark.parametrize("by", [60.0, 3600.0, 86400.0])
def test_pictures_of_a_clock_that_was_set_back_are_shown(by: float) -> None:
    live = Live()
    for number in range(200):
        back = by if number >= 100 else 0.0
        put(live, moved(make_score(number), -back), number)
        if number % 5 == 4:
            take_picture(live, number // 5, -back)
    last = pictures(live).last
    assert last is not None
    assert last.segment_id == "s39"
    live.add_picture("channel", replace(last, segment_id="s38", start=last.start - 10, written=last.written + 10))
    assert pictures(live).last == last, "one that comes late"


def test_a_picture_from_the_future_is_kept_no_longer_than_others() -> None:
    live = Live(picture_seconds=3600)
    put(live, make_score(0), 0)
    take_picture(live, 0, ahead=2 * 86400)
    live.tick(START + 3500)
    assert pictures(live).last is not None
    live.tick(START + 3700)
    assert pictures(live) == Pictures()


def test_a_score_that_was_written_in_the_future_stops_no_rate_and_grows_old() -> None:
    live, now = Live(), time.time()
    live.tick(now)
    for number, ahead in enumerate([600.0, *([-30.0] * 50), *([-20.0] * 50)]):
        score = make_score(number, 50, begin=datetime.fromtimestamp(now, UTC))
        record = SimpleNamespace(value=score.to_bytes(), timestamp=int((now + ahead) * 1000))
        change = CHANGES[SCORES_TOPIC](record)
        assert change is not None
        change(live)
        assert live.streams["channel"].received <= time.time()
    for second in range(10):
        live.pulse.count(now + 1 + second, skipped=False)
    assert live.pulse.rates(now + 12)[0] == pytest.approx(1, abs=0.2)
