"""Silences follow acknowledgements: made once, renewed, and ended when they are taken back or the alert is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from streams.alerts.acknowledge import Acknowledgements, acknowledge
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import as_alertmanager
from streams.alerts.request import RefusedError, UnavailableError
from streams.alerts.silences import LONGEST, Silencer, matchers_of
from streams.events import QualityAlert
from tests.support.alertmanager import SilenceServer, silence_server
from tests.support.alerts import BEGIN

ALERT = QualityAlert(
    alert_id="id-1", stream_id='studio "7"', rendition="720p", kind="black", state="firing", started_at=BEGIN, value=1,
    segment_id="studio-7/1",
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[SilenceServer]:
    with silence_server() as server:
        yield server


def silencer(url: str) -> Silencer:
    return Silencer(Receiver.model_validate({"name": "am", "type": "alertmanager", "url": url, "silence": True}))


def seen_by(name: str, until: datetime | None = None, note: str = "") -> Acknowledgements:
    seen = Acknowledgements()
    seen.fold(b"id-1", acknowledge("id-1", ALERT.stream_id, name, BEGIN, note, until).to_bytes())
    return seen


def test_an_acknowledged_alert_is_silenced_once_by_the_labels_that_it_has(server: SilenceServer) -> None:
    keeper, seen = silencer(server.url), seen_by("Kim", note="on\nit")
    for seconds in (0, 60, 3600):
        keeper.update([ALERT], seen, BEGIN + timedelta(seconds=seconds))
    (silence,) = server.active()
    assert server.requests.count("POST /api/v2/silences") == 1
    labels = as_alertmanager(ALERT, BEGIN)["labels"]
    assert {matcher["name"]: matcher["value"] for matcher in silence["matchers"]}.items() <= labels.items()
    assert not any(matcher["isRegex"] for matcher in silence["matchers"])
    assert (silence["createdBy"], silence["comment"]) == ("fvq: Kim", "acknowledged, alert id-1: on\\nit")
    assert datetime.fromisoformat(silence["endsAt"]) == BEGIN + LONGEST


def test_a_silence_is_made_longer_while_the_acknowledgement_holds(server: SilenceServer) -> None:
    keeper, seen = silencer(server.url), seen_by("Kim")
    keeper.update([ALERT], seen, BEGIN)
    keeper.update([ALERT], seen, BEGIN + LONGEST - timedelta(minutes=30))
    (silence,) = server.active()
    assert datetime.fromisoformat(silence["endsAt"]) == BEGIN + 2 * LONGEST - timedelta(minutes=30)


def test_a_silence_ends_when_the_acknowledgement_does(server: SilenceServer) -> None:
    until = BEGIN + timedelta(minutes=10)
    keeper, seen = silencer(server.url), seen_by("Kim", until)
    for minutes in (0, 5, 9):
        keeper.update([ALERT], seen, BEGIN + timedelta(minutes=minutes))
    (silence,) = server.active()
    assert datetime.fromisoformat(silence["endsAt"]) == until
    assert server.requests.count("POST /api/v2/silences") == 1


def test_a_silence_is_ended_when_the_acknowledgement_is_taken_back(server: SilenceServer) -> None:
    keeper, seen = silencer(server.url), seen_by("Kim")
    keeper.update([ALERT], seen, BEGIN)
    seen.fold(b"id-1", None)
    keeper.update([ALERT], seen, BEGIN)
    assert server.active() == []


def test_another_worker_finds_the_silence_and_ends_it_with_the_alert(server: SilenceServer) -> None:
    silencer(server.url).update([ALERT], seen_by("Kim"), BEGIN)
    server.silences["foreign"] = {"id": "foreign", "createdBy": "Lee", "comment": "alert id-1", "status": {"state": "active"}}
    other = silencer(server.url)
    other.update([ALERT], seen_by("Kim"), BEGIN)
    assert len(server.silences) == 2, "the same silence is kept"
    other.end(ALERT)
    assert [silence["id"] for silence in server.active()] == ["foreign"]


def test_a_silence_whose_acknowledgement_was_taken_back_between_workers_is_ended(server: SilenceServer) -> None:
    silencer(server.url).update([ALERT], seen_by("Kim"), BEGIN)
    keeper, taken_back = silencer(server.url), Acknowledgements()
    keeper.update([ALERT], taken_back, BEGIN)
    assert len(server.active()) == 1, "the acknowledgements are not read yet"
    taken_back.complete = True
    for seconds in range(3):
        keeper.update([ALERT], taken_back, BEGIN + timedelta(seconds=seconds))
    assert server.active() == []
    assert server.requests.count("GET /api/v2/silences") == 2, "one of each worker: it is looked for once"


def alerts_of(count: int) -> list[QualityAlert]:
    return [ALERT.model_copy(update={"alert_id": f"id-{number}"}) for number in range(count)]


def read() -> Acknowledgements:
    """All acknowledgements are read: there is none."""
    seen = Acknowledgements()
    seen.complete = True
    return seen


def answers_of(keeper: Silencer, monkeypatch: pytest.MonkeyPatch, *answers: bytes | Exception, seconds: float = 0) -> list[str]:
    """Lets a server answer the silencer so in turn, the last answer for ever; returns the methods of its requests.

    seconds: that each answer takes.
    """
    methods, now, left = list[str](), [1000.0], list(answers)

    def request(method: str, *_: object, **__: object) -> bytes:
        methods.append(method)
        now[0] += seconds
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("streams.alerts.silences.time.monotonic", lambda: now[0])
    monkeypatch.setattr(keeper._address, "request", request)
    return methods


def test_looks_for_old_silences_of_many_alerts_do_not_keep_a_courier_from_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = silencer("http://127.0.0.1:1")
    methods = answers_of(keeper, monkeypatch, b"[]", seconds=2)
    looks = []
    for _ in range(6):
        before = len(methods)
        keeper.update(alerts_of(10), read(), BEGIN)
        looks.append(len(methods) - before)
    assert looks == [3, 3, 3, 1, 0, 0], "none begins after five seconds"


def test_a_look_that_is_refused_is_not_made_again_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = silencer("http://127.0.0.1:1")
    methods = answers_of(keeper, monkeypatch, RefusedError("status 400"))
    with pytest.raises(RefusedError):
        keeper.update(alerts_of(50), read(), BEGIN)
    keeper.update(alerts_of(50), read(), BEGIN)
    assert len(methods) == 50


def test_a_look_that_nobody_answers_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = silencer("http://127.0.0.1:1")
    methods = answers_of(keeper, monkeypatch, UnavailableError("status 503"), b"[]")
    with pytest.raises(UnavailableError):
        keeper.update(alerts_of(2), read(), BEGIN)
    for _ in range(2):
        keeper.update(alerts_of(2), read(), BEGIN)
    assert len(methods) == 3


def test_what_is_acknowledged_is_silenced_before_old_silences_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, seen = silencer("http://127.0.0.1:1"), read()
    seen.fold(b"id-9", acknowledge("id-9", ALERT.stream_id, "Kim", BEGIN, "", None).to_bytes())
    methods = answers_of(keeper, monkeypatch, b"[]", seconds=2)
    keeper.update(alerts_of(10), seen, BEGIN)
    assert methods == ["GET", "POST", "GET"]


def acknowledged(alerts: list[QualityAlert]) -> Acknowledgements:
    seen = Acknowledgements()
    for alert in alerts:
        seen.fold(alert.alert_id.encode(), acknowledge(alert.alert_id, ALERT.stream_id, "Kim", BEGIN).to_bytes())
    return seen


def test_silences_of_many_alerts_do_not_keep_a_courier_from_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, alerts = silencer("http://127.0.0.1:1"), alerts_of(10)
    methods = answers_of(keeper, monkeypatch, b"[]", seconds=2)
    made = []
    for _ in range(6):
        before = methods.count("POST")
        keeper.update(alerts, acknowledged(alerts), BEGIN)
        made.append(methods.count("POST") - before)
    assert made == [2, 2, 2, 2, 2, 0], "none begins after five seconds"


def test_silences_that_are_refused_each_time_leave_the_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, alerts = silencer("http://127.0.0.1:1"), alerts_of(10)
    methods = answers_of(keeper, monkeypatch, *[RefusedError("status 400")] * 3, b"[]", seconds=2)
    for turn in range(5):
        if turn == 0:
            with pytest.raises(RefusedError):
                keeper.update(alerts, acknowledged(alerts), BEGIN)
        else:
            keeper.update(alerts, acknowledged(alerts), BEGIN)
    assert methods.count("POST") == 8, "the three that were refused come again after the seven others"


def test_silences_of_many_resolved_alerts_end_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, alerts = silencer("http://127.0.0.1:1"), alerts_of(10)
    methods = answers_of(keeper, monkeypatch, b"[]", seconds=2)
    keeper.end_resolved(alerts)
    assert len(methods) == 3
    # One that fires again keeps its silence.
    for _ in range(4):
        keeper.update([alerts[9]], acknowledged([]), BEGIN)
    assert len(methods) == 9


def test_an_alert_that_went_to_another_worker_keeps_its_silence(server: SilenceServer) -> None:
    keeper, seen = silencer(server.url), seen_by("Kim")
    keeper.update([ALERT], seen, BEGIN)
    keeper.update([], seen, BEGIN)
    assert len(server.active()) == 1


def test_a_silence_in_an_answer_of_several_pieces_is_found(server: SilenceServer) -> None:
    keeper, seen = silencer(server.url), seen_by("Kim", note="x" * 2000)
    keeper.update([ALERT], seen, BEGIN)
    keeper.update([ALERT], seen, BEGIN + LONGEST)
    assert len(server.silences) == 1, "it was made longer"
    keeper.end(ALERT)
    assert server.active() == []


@pytest.mark.parametrize("stream", ["studio-é", "канал", '\\"', "a\nb\tc", "\\n"])
def test_a_silence_of_a_stream_of_any_name_is_found(server: SilenceServer, stream: str) -> None:
    alert, keeper = ALERT.model_copy(update={"stream_id": stream}), silencer(server.url)
    keeper.update([alert], seen_by("Kim"), BEGIN)
    assert len(server.active()) == 1
    keeper.end(alert)
    assert server.active() == []


def test_a_silence_that_is_refused_does_not_keep_the_others_from_theirs(server: SilenceServer) -> None:
    server.most_bytes = 1000
    alerts = alerts_of(3)
    seen = Acknowledgements()
    for alert in alerts:
        note = "x" * 1000 if alert is alerts[0] else ""
        seen.fold(alert.alert_id.encode(), acknowledge(alert.alert_id, ALERT.stream_id, "Kim", BEGIN, note, None).to_bytes())
    with pytest.raises(RefusedError):
        silencer(server.url).update(alerts, seen, BEGIN)
    assert [silence["comment"] for silence in server.active()] == ["acknowledged, alert id-1", "acknowledged, alert id-2"]


def test_a_strange_silence_in_the_list_does_no_harm(server: SilenceServer) -> None:
    server.silences["odd"] = {"id": 7, "status": {"state": "expired"}}
    silencer(server.url).update([ALERT], seen_by("Kim"), BEGIN)
    assert [silence["createdBy"] for silence in server.active()] == ["fvq: Kim"]


def test_a_silence_is_for_one_rendition_of_one_stream() -> None:
    whole = ALERT.model_copy(update={"rendition": None})
    assert [matcher["value"] for matcher in matchers_of(whole)] == ["black", 'studio "7"', ""]


@pytest.mark.parametrize("rendition", [None, "720p"])
def test_a_label_of_a_stream_that_is_called_rendition_does_not_keep_a_silence_from_matching(rendition: str | None) -> None:
    alert = ALERT.model_copy(update={"rendition": rendition, "labels": {"rendition": "main"}})
    labels = as_alertmanager(alert, BEGIN)["labels"]
    assert all(labels.get(matcher["name"], "") == matcher["value"] for matcher in matchers_of(alert))


def test_the_end_of_a_silence_that_nobody_answers_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, over = silencer("http://127.0.0.1:1"), ALERT.model_copy(update={"state": "resolved", "ended_at": BEGIN})
    methods = answers_of(keeper, monkeypatch, *[UnavailableError("status 503")] * 2, b"[]")
    with pytest.raises(UnavailableError):
        keeper.end_resolved([over])
    with pytest.raises(UnavailableError):
        keeper.update([], Acknowledgements(), BEGIN)
    for _ in range(2):
        keeper.update([], Acknowledgements(), BEGIN)
    assert len(methods) == 3, "the third request was answered, and none follows"


def test_an_end_that_nobody_ever_answers_keeps_no_other_silence_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, (over, other) = silencer("http://127.0.0.1:1"), alerts_of(2)
    methods = answers_of(keeper, monkeypatch, UnavailableError("status 503"), b"[]", b"", UnavailableError("status 503"))
    with pytest.raises(UnavailableError):
        keeper.end_resolved([over.model_copy(update={"state": "resolved", "ended_at": BEGIN})])
    with pytest.raises(UnavailableError):
        keeper.update([other], acknowledged([other]), BEGIN)
    assert methods == ["GET", "GET", "POST", "GET"]
    keeper.update([], Acknowledgements(), BEGIN + LONGEST)
    assert len(methods) == 4, "the silence has ended by itself"
