"""Events: what is on the wire."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import EventError
from streams.events import EVENTS, AlertAcknowledgement, Event, QualityAlert, SegmentEvent, SegmentScore
from streams.events.examples import EXAMPLES
from streams.events.page import reference
from streams.web.reading import read_score

GOOD = {
    "stream_id": "s",
    "segment_id": "s/1",
    "sequence": 1,
    "uri": "file:///a.ts",
    "start": "2026-01-31T20:15:04Z",
    "duration": 2.0,
}

names = st.text(min_size=1, max_size=40)
events = st.builds(
    SegmentEvent,
    stream_id=names,
    segment_id=names,
    sequence=st.integers(0, 2**53),
    uri=names,
    init_uri=st.none() | names,
    start=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),
    duration=st.floats(0.001, 3600),
    rendition=st.none() | names,
    labels=st.dictionaries(names, st.text(max_size=40), max_size=5),
)


@given(events)
def test_an_event_survives_the_wire(event: SegmentEvent) -> None:
    assert SegmentEvent.from_bytes(event.to_bytes()) == event


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_event_or_an_event_error(data: bytes) -> None:
    with contextlib.suppress(EventError):
        SegmentEvent.from_bytes(data)


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()) for name in GOOD}
    )
)
def test_a_wrong_field_is_named(changes: dict[str, object]) -> None:
    wrong = ""
    try:
        SegmentEvent.from_bytes(json.dumps(GOOD | changes).encode())
    except EventError as error:
        wrong = error.field
    assert wrong.split(".")[0] in {"", *changes}


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(EventError) as caught:
        SegmentEvent.from_bytes(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"duration": 0}, "duration"),
        ({"duration": -1}, "duration"),
        ({"sequence": -1}, "sequence"),
        ({"stream_id": ""}, "stream_id"),
        ({"start": "yesterday"}, "start"),
        ({"labels": {"tier": 1}}, "labels.tier"),
    ],
)
def test_values_outside_their_range_are_refused(change: dict[str, object], field: str) -> None:
    with pytest.raises(EventError) as caught:
        SegmentEvent.from_bytes(json.dumps(GOOD | change).encode())
    assert caught.value.field == field


def test_unknown_fields_are_ignored() -> None:
    assert SegmentEvent.from_bytes(json.dumps(GOOD | {"later": [1]}).encode()).stream_id == "s"


@pytest.mark.parametrize(
    ("start", "microsecond"),
    [
        ("1769890504", 0),
        (1769890504, 0),
        ("1769890504.25", 250_000),
        (1769890504.25, 250_000),
        ("1769890504250", 250_000),
        (1769890504250, 250_000),
        ("1769890504250.5", 250_500),
        ("1769890504250500", 250_500),
        (1769890504250500, 250_500),
        ("1769890504250500123", 250_500),
        (" 1769890504 ", 0),
        ("20260131T201504Z", 0),
    ],
)
def test_times_may_be_numbers_since_1970_in_the_unit_that_their_size_tells(start: object, microsecond: int) -> None:
    event = SegmentEvent.from_bytes(json.dumps(GOOD | {"start": start}).encode())
    assert event.start == datetime(2026, 1, 31, 20, 15, 4, microsecond, tzinfo=UTC)


def test_milliseconds_are_not_read_as_a_day_and_a_time_of_day() -> None:
    # Python reads these digits as 1611-05-31, a separator, 23:45.
    event = SegmentEvent.from_bytes(json.dumps(GOOD | {"start": "1611053112345"}).encode())
    assert event.start == datetime(2021, 1, 19, 10, 45, 12, 345_000, tzinfo=UTC)


@pytest.mark.parametrize("start", ["yesterday", "31.01.2026 20:15", "20:15:04", "", "1e9", "NaN", "2026-01-31T25:00:00Z", "1,5"])
def test_what_is_no_time_is_refused_with_what_to_write(start: str) -> None:
    with pytest.raises(EventError, match=r"start: .*2026-01-31T20:15:04Z.* or seconds or milliseconds since 1970"):
        SegmentEvent.from_bytes(json.dumps(GOOD | {"start": start}).encode())


@pytest.mark.parametrize(
    "start", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2200-01-01", -1, 10**30, "9" * 4000]
)
def test_a_start_in_an_impossible_year_is_refused(start: object) -> None:
    with pytest.raises(EventError, match=r"start: .*year"):
        SegmentEvent.from_bytes(json.dumps(GOOD | {"start": start}).encode())


@pytest.mark.parametrize("start", ["2026-01-31T20:15:04", "2026-01-31T20:15:04Z", "2026-01-31T22:15:04+02:00"])
def test_times_are_utc(start: str) -> None:
    event = SegmentEvent.from_bytes(json.dumps(GOOD | {"start": start}).encode())
    assert event.start == datetime(2026, 1, 31, 20, 15, 4, tzinfo=UTC)
    assert event.start.utcoffset() == timedelta(0)
    assert UTC is UTC


def test_a_score_takes_over_the_identity() -> None:
    event = SegmentEvent.from_bytes(json.dumps(GOOD | {"labels": {"tier": "premium"}, "rendition": "720p"}).encode())
    score = SegmentScore(**SegmentScore.identity(event), status="skipped", reason="late")
    assert (score.segment_id, score.rendition, score.labels) == ("s/1", "720p", {"tier": "premium"})
    assert b"level" not in score.to_bytes()


def test_the_published_schemas_are_up_to_date() -> None:
    folder = Path(__file__).parents[2] / "docs" / "schemas"
    for event in EVENTS:
        assert json.loads((folder / f"{event.__name__}.json").read_text()) == event.model_json_schema(), (
            "run python -m streams.events docs/schemas"
        )


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "events.md"
    assert page.read_text() == reference(), "run: python -m streams.events.page > docs/events.md"


def test_every_field_on_the_reference_page_says_what_it_is() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize("event", EVENTS)
def test_the_example_of_an_event_is_one_and_newer_fields_change_nothing(event: type[Event]) -> None:
    """At every depth: docs/compatibility.md promises it."""
    example = EXAMPLES[event]
    newer = {"newer": [1], **{name: value | {"newer": 1} for name, value in example.items() if name in ("model", "signals")}}
    assert event.from_bytes(json.dumps(example | newer).encode()) == event.from_bytes(json.dumps(example).encode())


@pytest.mark.parametrize(
    ("event", "change", "field"),
    [
        (QualityAlert, {"kind": "newer"}, "kind"),
        (SegmentScore, {"tier": "newer"}, "tier"),
        (SegmentScore, {"level": "newer"}, "level"),
    ],
)
def test_an_unknown_word_makes_an_event_unreadable_and_is_named(event: type[Event], change: dict[str, str], field: str) -> None:
    with pytest.raises(EventError) as caught:
        event.from_bytes(json.dumps(EXAMPLES[event] | change).encode())
    assert caught.value.field == field


def test_the_walls_list_takes_a_score_of_an_unknown_tier() -> None:
    assert read_score(json.dumps(EXAMPLES[SegmentScore] | {"tier": "newer"}).encode()).tier == "newer"


def test_an_alert_without_the_newer_fields_is_an_alert() -> None:
    before = {
        "alert_id": "0123456789abcdef",
        "stream_id": "s",
        "kind": "black",
        "state": "firing",
        "started_at": "2026-01-31T20:15:04Z",
        "value": 1.0,
        "segment_id": "s/1",
    }
    alert = QualityAlert.from_bytes(json.dumps(before).encode())
    assert (alert.cause, alert.severity, alert.threshold, alert.url, alert.summary) == (None, None, None, None, "")


@pytest.mark.parametrize("change", [{"by": ""}, {"by": "x" * 129}, {"note": "x" * 2001}, {"alert_id": ""}, {"at": None}])
def test_an_acknowledgement_names_somebody_and_is_short(change: dict[str, object]) -> None:
    right = {"alert_id": "0123456789abcdef", "by": "Kim", "at": "2026-01-31T20:15:04Z", "stream_id": "s"}
    assert AlertAcknowledgement.from_bytes(json.dumps(right).encode()).until is None
    with pytest.raises(EventError) as caught:
        AlertAcknowledgement.from_bytes(json.dumps(right | change).encode())
    assert caught.value.field in change
