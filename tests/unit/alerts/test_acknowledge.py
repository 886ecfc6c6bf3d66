"""Acknowledgements: who has seen an alert, until when, and when they are forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts import acknowledge as acknowledging
from streams.alerts.acknowledge import Acknowledgements, acknowledge, check_is_free, ending
from streams.alerts.acks_topic import KEPT_SECONDS, outdated
from streams.errors import EventError
from streams.events import AlertAcknowledgement, QualityAlert
from tests.support.alerts import BEGIN

ALERT = QualityAlert(
    alert_id="id-1", stream_id="studio-7", kind="black", state="firing", started_at=BEGIN, value=1, segment_id="studio-7/1"
)
LATER = BEGIN + timedelta(hours=1)


def known(*acknowledgements: AlertAcknowledgement) -> Acknowledgements:
    seen = Acknowledgements()
    for acknowledgement in acknowledgements:
        seen.fold(acknowledgement.alert_id.encode(), acknowledgement.to_bytes())
    return seen


def test_an_acknowledged_alert_is_not_told_again_until_it_is_taken_back() -> None:
    seen = known(acknowledge("id-1", "studio-7", " Kim ", BEGIN, note="on it"))
    other = ALERT.model_copy(update={"alert_id": "id-2"})
    assert seen.unseen([ALERT, other], LATER) == [other]
    held = seen.of("id-1", LATER)
    assert held is not None
    assert (held.by, held.note, held.until) == ("Kim", "on it", None)
    seen.fold(b"id-1", None)
    assert seen.unseen([ALERT], LATER) == [ALERT]


def test_an_acknowledgement_ends_at_its_time() -> None:
    seen = known(acknowledge("id-1", "studio-7", "Kim", BEGIN, until=LATER))
    assert seen.of("id-1", LATER - timedelta(seconds=1)) is not None
    assert seen.of("id-1", LATER) is None
    assert len(seen.known()) == 1, "it is still known who it was"


def test_the_last_message_of_an_alert_counts() -> None:
    seen = known(acknowledge("id-1", "studio-7", "Kim", BEGIN), acknowledge("id-1", "studio-7", "Lee", LATER))
    assert [acknowledgement.by for acknowledgement in seen.known()] == ["Lee"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"by": "  "}, "by"), ({"by": "x" * 129}, "by"), ({"note": "x" * 2001}, "note"), ({"until": BEGIN}, "until")],
)
def test_what_cannot_be_an_acknowledgement_is_named(change: dict[str, object], field: str) -> None:
    values: dict[str, object] = {"alert_id": "id-1", "stream_id": "studio-7", "by": "Kim", "at": BEGIN}
    with pytest.raises(EventError) as caught:
        acknowledge(**values | change)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_an_end_is_a_time() -> None:
    assert ending("2026-03-01T13:00:00Z", BEGIN) == LATER
    with pytest.raises(EventError, match=r"until: is no time: write ISO 8601"):
        ending("in an hour", BEGIN)


@pytest.mark.parametrize(
    ("text", "length"), [("90m", timedelta(minutes=90)), (" 2h", timedelta(hours=2)), ("1d", timedelta(days=1))]
)
def test_an_end_may_be_a_length(text: str, length: timedelta) -> None:
    assert ending(text, BEGIN) == BEGIN + length


@pytest.mark.parametrize("text", ["2 hours", "-2h", "h", "0.5h", "99999d"])
def test_a_length_has_its_unit(text: str) -> None:
    with pytest.raises(EventError, match=r"as 2h or 30m"):
        ending(text, BEGIN)


def test_nobody_takes_the_place_of_who_was_first() -> None:
    held = acknowledge("id-1", "studio-7", "Kim", BEGIN, note="on it")
    check_is_free(None, "Lee")
    check_is_free(held, "Kim")
    with pytest.raises(EventError, match=r"Kim has acknowledged it already \(on it\): `fvq alerts unack id-1` takes that back"):
        check_is_free(held, "Lee")


def test_a_message_under_another_alerts_key_is_refused() -> None:
    seen = Acknowledgements()
    with pytest.raises(EventError, match="is not the message's key"):
        seen.fold(b"id-2", acknowledge("id-1", "studio-7", "Kim", BEGIN).to_bytes())
    assert seen.known() == []


@given(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200))
def test_any_message_is_taken_in_or_refused(key: bytes | None, value: bytes | None) -> None:
    seen = Acknowledgements()
    try:
        seen.fold(key, value)
    except EventError:
        assert seen.known() == []


def test_a_flood_of_acknowledgements_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledging, "MOST_KNOWN", 3)
    seen = known(*(acknowledge(f"id-{number}", "studio-7", "Kim", BEGIN) for number in range(5)))
    assert [acknowledgement.alert_id for acknowledgement in seen.known()] == ["id-2", "id-3", "id-4"]


def test_an_acknowledgement_is_removed_a_day_after_its_alert_and_only_by_the_worker_of_its_stream() -> None:
    seen, over_since = known(acknowledge("id-1", "studio-7", "Kim", BEGIN)), dict[str, float]()

    def removed(firing: list[QualityAlert], now: float, own: bool = True) -> list[str]:
        return outdated(seen, firing, lambda _: own, over_since, now)

    assert removed([ALERT], 10 * KEPT_SECONDS) == []
    assert removed([], 10 * KEPT_SECONDS) == []
    assert removed([], 11 * KEPT_SECONDS - 1) == []
    assert removed([], 11 * KEPT_SECONDS, own=False) == [], "another worker has the stream now"
    assert removed([], 11 * KEPT_SECONDS) == [], "it has just come back to this one"
    assert removed([], 12 * KEPT_SECONDS) == ["id-1"]
