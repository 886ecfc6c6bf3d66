"""What receivers are sent, whatever the packager's clock says, and how long their answers are waited for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import metrics
from streams.alerts.acknowledge import Acknowledgements, acknowledge
from streams.alerts.delivery import Courier
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import REPEAT_SECONDS, Poster, as_alertmanager
from streams.alerts.request import SIGNATURE_HEADER, Address, UnavailableError, signature
from streams.errors import SettingsError
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, TopicPartition
from tests.support.alerts import webhook
from tests.support.processes import ROOT
from tests.unit.scoring.test_app import has_ipv6

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make_alert(starts_in: float = 0, lasts: float | None = None, number: int = 0) -> QualityAlert:
    """An alert. starts_in: seconds after now. lasts: seconds; None while it fires."""
    started_at = NOW + timedelta(seconds=starts_in)
    return QualityAlert(
        alert_id=f"id-{number}",
        stream_id=f"channel-{number}",
        kind="black",
        state="firing" if lasts is None else "resolved",
        started_at=started_at,
        ended_at=None if lasts is None else started_at + timedelta(seconds=lasts),
        value=1,
        segment_id="channel/9",
    )


def make_receiver(url: str, kind: str = "alertmanager", **fields: object) -> Receiver:
    return Receiver.model_validate({"name": "hook", "type": kind, "url": url} | fields)


def times_of(posted: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(posted["startsAt"]), datetime.fromisoformat(posted["endsAt"])


@given(st.floats(-1e6, 1e6), st.none() | st.floats(0, 1e5))
def test_alertmanager_gets_no_end_before_its_start_and_no_start_after_now(starts_in: float, lasts: float | None) -> None:
    starts_at, ends_at = times_of(as_alertmanager(make_alert(starts_in, lasts), NOW))
    assert starts_at <= ends_at
    assert starts_at <= NOW
    # Alertmanager takes an alert whose end is after now as firing.
    assert (ends_at > NOW) == (lasts is None)


def test_an_alert_of_the_past_keeps_its_times() -> None:
    starts_at, ends_at = times_of(as_alertmanager(make_alert(-60, 20), NOW))
    assert (starts_at, ends_at) == (NOW - timedelta(seconds=60), NOW - timedelta(seconds=40))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("http://am:9093", "http://am:9093"),
        ("http://am:9093/", "http://am:9093"),
        (" http://am:9093\n", "http://am:9093"),
        ("http://am:9093/api", "http://am:9093"),
        ("http://am:9093/api/", "http://am:9093"),
        ("https://proxy/alertmanager/api", "https://proxy/alertmanager"),
        ("http://am:9093/api/v2", "http://am:9093"),
        ("http://am:9093/api/v2/", "http://am:9093"),
        ("http://am:9093/api/v2/alerts", "http://am:9093"),
        ("http://am:9093/api/v1/alerts/", "http://am:9093"),
        ("http://am:9093/api/v2/alerts/groups", "http://am:9093"),
        ("http://am:9093/#/alerts", "http://am:9093"),
        ("http://am:9093/#/alerts?silenced=false", "http://am:9093"),
        ("https://proxy/alertmanager/api/v2/alerts", "https://proxy/alertmanager"),
        ("https://proxy/alertmanager/#/silences", "https://proxy/alertmanager"),
    ],
)
def test_alertmanagers_address_may_have_the_path_of_its_api_or_page(typed: str, address: str) -> None:
    assert make_receiver(typed).address() == address
    with webhook() as hook:
        base = hook.url.removesuffix("/hooks/s3cret")
        Poster(make_receiver(typed.strip().replace(address.split("/alertm")[0], base))).post([make_alert()])
        assert hook.paths[0].removeprefix("/alertmanager") == "/api/v2/alerts"


@pytest.mark.parametrize("path", ["/hooks/s3cret/", "/hooks/?next=/", "/hooks/s3cret"])
def test_a_webhook_is_posted_to_its_address_as_it_is_written(path: str) -> None:
    with webhook() as hook:
        Poster(make_receiver(f" {hook.url.removesuffix('/hooks/s3cret')}{path}\n", "json")).post([make_alert()])
        assert hook.paths == [path]


@pytest.mark.parametrize("kind", ["json", "alertmanager"])
def test_user_and_password_of_an_address_are_sent_unless_there_is_a_token(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    with webhook() as hook:
        url = hook.url.replace("//", "//m%40x:p%2F:%C3%A9@")
        Poster(make_receiver(url, kind)).post([make_alert()])
        Poster(make_receiver(url, kind, token_env="HOOK_TOKEN")).post([make_alert()])
        user_and_password = base64.b64encode("m@x:p/:é".encode()).decode()
        assert [headers["Authorization"] for headers in hook.headers] == [f"Basic {user_and_password}", "Bearer t0ken"]
        assert all("@" not in headers["Host"] for headers in hook.headers)


@pytest.mark.parametrize("user", ["key", "key:"])
def test_a_user_without_a_password_is_sent_with_an_empty_one(user: str) -> None:
    with webhook() as hook:
        Poster(make_receiver(hook.url.replace("//", f"//{user}@"), "json")).post([make_alert()])
        assert hook.headers[0]["Authorization"] == f"Basic {base64.b64encode(b'key:').decode()}"


def test_a_path_that_only_ends_like_the_api_stays() -> None:
    assert make_receiver("https://proxy/rapi").address() == "https://proxy/rapi"


@pytest.mark.parametrize("url", ["http://am:9093/?s3cret=1", "http://am:99999/s3cret", "http://[::1/s3cret", "am:9093/s3cret"])
def test_an_address_that_cannot_be_used_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(SettingsError, match=r"receivers\.hook\.url") as caught:
        make_receiver(url).address()
    assert "s3cret" not in str(caught.value)


@contextmanager
def server(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[str]:
    """A server that handles each connection with `serve`; gives its address."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(65536)
                    serve(client)
                except OSError:
                    pass  # the client closed the connection

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_a_receiver_at_an_ipv6_address_with_a_port_is_reached() -> None:
    with server(lambda client: client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "::1") as url:
        assert url.startswith("http://[::1]:")
        assert Address(make_receiver(url, "json")).request("POST", body=b"{}") == b"ok"


def test_an_answer_without_an_end_is_an_answer() -> None:
    sent = []

    def endless(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            client.sendall(bytes(65536))
            sent.append(1)

    with server(endless) as url:
        started = time.monotonic()
        Poster(make_receiver(url, "json")).post([make_alert()])
    assert time.monotonic() - started < 60
    assert len(sent) < 200


def test_an_answer_in_pieces_is_read_unless_it_is_too_long_or_breaks_off() -> None:
    body = b"12345678"
    pieces = b"5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n"
    answers = {
        b"Transfer-Encoding: chunked\r\n\r\n" + pieces: body,
        b"Transfer-Encoding: chunked\r\n\r\n" + pieces[:-12]: b"",
        b"Content-Length: 8\r\n\r\n" + body: body,
        b"Content-Length: 8\r\n\r\n" + body[:5]: b"",
    }
    for answer, expected in answers.items():
        with server(lambda client, answer=answer: client.sendall(b"HTTP/1.1 200 OK\r\n" + answer)) as url:
            address = Address(make_receiver(url))
            assert address.request("GET", most=8) == expected
            assert address.request("GET", most=7) == b""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nowhere.invalid/hook", "its host's name cannot be found"),
        ("http://127.0.0.1:1/hook", "nothing listens at its address"),
    ],
)
def test_an_address_where_nobody_is_says_what_is_wrong_without_its_text(url: str, words: str) -> None:
    receiver = Receiver(name="hook", type="json", url=url)
    with pytest.raises(UnavailableError, match=words) as caught:
        Address(receiver).request("POST", body=b"{}")
    assert "hook" not in str(caught.value)


def test_a_receiver_may_say_by_a_date_how_long_it_wants_to_be_left_alone() -> None:
    for header, least, most in ((format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True), 20, 40), ("7", 7, 7)):
        answer = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()
        with server(lambda client, answer=answer: client.sendall(answer)) as url, pytest.raises(UnavailableError) as caught:
            Address(make_receiver(url)).request("POST", body=b"{}")
        assert least <= caught.value.retry_after <= most


@pytest.mark.parametrize("drop", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b""])
def test_a_receiver_that_sends_a_byte_now_and_then_is_unavailable_after_its_timeout(drop: bytes) -> None:
    def drip(client: socket.socket) -> None:
        client.sendall(drop)
        while True:
            client.sendall(b"1")
            time.sleep(0.05)

    with server(drip) as url:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
            Poster(make_receiver(url, "json", timeout=0.3)).post([make_alert()])
    assert time.monotonic() - started < 60, "it drips for ever"


def test_a_name_whose_first_addresses_are_dead_is_reached_by_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda client: client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url, ExitStack() as stack:
        places = [(f"127.0.0.{number}", int(url.rsplit(":", 1)[1])) for number in (2, 3)]
        for place in places:  # a listener with a full queue: like a machine that is off, it answers no attempt to connect
            full = stack.enter_context(socket.create_server(place, backlog=0))
            for _ in range(2):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (*places, ("127.0.0.1", places[0][1]))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        Address(make_receiver(url, timeout=3)).request("POST", body=b"{}")


def test_the_repetition_names_a_refused_alert_and_sends_the_others(caplog: pytest.LogCaptureFixture) -> None:
    alerts = [make_alert(-10, number=number) for number in range(3)]
    with webhook(400, 200, 400, 200) as hook:
        courier = Courier(Connection("none:1"), Group("fvq", 10), make_receiver(hook.url), lambda: alerts)
        with caplog.at_level(logging.WARNING, logger="streams"):
            courier._repeat()
        assert [body[0]["annotations"]["alert_id"] for body in hook.bodies] == ["id-0", "id-2"]  # type: ignore[index]
    (record,) = caplog.records
    named = {name: vars(record)[name] for name in ("stream_id", "kind", "alert_id")}
    assert named == {"stream_id": "channel-1", "kind": "black", "alert_id": "id-1"}


def test_a_signed_request_can_be_checked_by_its_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    with webhook() as hook:
        Poster(make_receiver(hook.url, "json", signing_env="HOOK_SECRET")).post([make_alert()])
    sent = hook.headers[0][SIGNATURE_HEADER]
    seconds = int(sent.partition(",")[0].removeprefix("t="))
    assert abs(seconds - time.time()) < 60
    assert sent == signature("s3cret", seconds, hook.raw[0])
    assert sent != signature("s3cret", seconds, hook.raw[0] + b" ")
    assert sent != signature("other", seconds, hook.raw[0])
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac s3cret
    assert (
        signature("s3cret", 1_700_000_000, b"{}")
        == "t=1700000000,v1=97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf"
    )


def test_the_receiver_of_the_docs_tells_genuine_requests_from_others() -> None:
    page = (ROOT / "docs/alerts.md").read_text()
    code = page[page.index("def is_genuine") :].partition("```")[0]
    names: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib, "time": time}
    exec(code, names)
    now = int(time.time())
    assert names["is_genuine"](signature("s3cret", now, b"{}"), b"{}", b"s3cret")
    assert not names["is_genuine"](signature("s3cret", now, b"{}"), b"{ }", b"s3cret")
    assert not names["is_genuine"](signature("other", now, b"{}"), b"{}", b"s3cret")
    assert not names["is_genuine"](signature("s3cret", now - 600, b"{}"), b"{}", b"s3cret")


def test_a_request_without_a_secret_has_no_signature() -> None:
    with webhook() as hook:
        Poster(make_receiver(hook.url, "json")).post([make_alert()])
    assert SIGNATURE_HEADER not in hook.headers[0]


def test_a_firing_alert_is_told_again_until_somebody_acknowledges_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alert, seen = make_alert(-10), Acknowledgements()
    with webhook() as hook:
        courier = Courier(
            Connection("none:1"), Group("fvq", 10), make_receiver(hook.url, "json", repeat=60), lambda: [alert], seen
        )

        def told_after(seconds: float) -> int:
            now[0] += seconds
            courier._repeat()
            return len(hook.bodies)

        assert [told_after(0), told_after(59), told_after(1), told_after(59), told_after(1)] == [0, 0, 1, 1, 2]
        acknowledgement = acknowledge(alert.alert_id, alert.stream_id, "Kim", NOW)
        seen.fold(alert.alert_id.encode(), acknowledgement.to_bytes())
        assert [told_after(60), told_after(600)] == [2, 2]
        seen.fold(alert.alert_id.encode(), None)
        assert told_after(1) == 3


@pytest.mark.parametrize(
    ("answers", "told", "told_later"),
    [
        ((200, 422, 200), ["id-0", "id-2"], []),
        ((200, 503, 200), ["id-0"], ["id-1", "id-2"]),
    ],
)
def test_alerts_beside_one_that_is_not_taken_are_told_again_once(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[int, ...], told: list[str], told_later: list[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alerts = [make_alert(-10, number=number) for number in range(3)]
    with webhook(*answers) as hook:
        receiver = make_receiver(hook.url, "json", repeat=3600)
        courier = Courier(Connection("none:1"), Group("fvq", 10), receiver, lambda: alerts)

        def told_after(seconds: float) -> list[str]:
            before = len(hook.bodies)
            now[0] += seconds
            courier._repeat()
            return [body["alert_id"] for body in hook.bodies[before:]]  # type: ignore[call-overload,index]

        assert told_after(0) == []
        assert told_after(3600) == told
        assert told_after(1) == [], "a receiver that is away is not asked every second"
        assert told_after(REPEAT_SECONDS) == told_later
        assert told_after(3000) == []


def test_alertmanager_is_told_of_an_acknowledged_alert_too_so_that_it_does_not_resolve_it() -> None:
    alert, seen = make_alert(-10), Acknowledgements()
    seen.fold(alert.alert_id.encode(), acknowledge(alert.alert_id, alert.stream_id, "Kim", NOW).to_bytes())
    with webhook() as hook:
        Courier(Connection("none:1"), Group("fvq", 10), make_receiver(hook.url), lambda: [alert], seen)._repeat()
    ((posted,),) = hook.bodies  # type: ignore[misc]
    assert posted["annotations"]["acknowledged_by"] == "Kim"  # type: ignore[index]


def test_an_alert_that_is_too_old_is_counted_once_however_often_the_receiver_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    def counted() -> float:
        return metrics.ALERT_DELIVERIES.labels("hook", "too-old")._value.get()

    now = datetime.now(UTC)
    alerts = [
        make_alert(number=number).model_copy(update={"started_at": now - timedelta(seconds=seconds)})
        for number, seconds in enumerate((7200, 5, 7200, 7200))
    ]
    topic = TopicPartition(ALERTS_TOPIC, 0)
    records = [SimpleNamespace(offset=offset, value=alert.to_bytes()) for offset, alert in enumerate(alerts)]
    commits: list[dict[TopicPartition, int]] = []
    member: Any = SimpleNamespace(commit=commits.append)
    with webhook(503, 503, 503, 200) as hook:
        courier = Courier(Connection("none:1"), Group("fvq", 10), make_receiver(hook.url, "json"), list)
        courier._enqueue(SimpleNamespace(paused=set), Batch({topic: records}, reassigned=False, settled=True))
        before = counted()
        for _ in range(3):
            courier._deliver(member, threading.Event())
        assert (commits, counted()) == ([], before), "an old one may still turn out to fire"
        for _ in range(2):
            courier._deliver(member, threading.Event())
        assert [body["alert_id"] for body in hook.bodies] == ["id-1"]  # type: ignore[call-overload,index]
    assert commits[-1] == {topic: 4}
    assert counted() == before + 3
    named = [vars(record)["alert_id"] for record in caplog.records if "s old and not delivered" in record.message]
    assert named == ["id-0", "id-2", "id-3"]
