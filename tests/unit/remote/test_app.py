"""The server's answers, over real connections."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from scorer.errors import ModelError
from scorer.remote import app, connections, replica
from scorer.remote.replica import Limits
from scorer.remote.wire import MEDIA_TYPE, largest_body, pack
from scorer.spec import ModelInput
from tests.support.doubles import SPEC, make_clip
from tests.support.served import HeldModel, HeldScorer, RunningServer, running_server
from tests.support.waiting import wait_for

TOKEN = "a-long-token"
LIMITS = Limits(batch=4, queue=8, wait_seconds=0.5, body_seconds=0.5)


def body_of(*lights: int) -> bytes:
    return pack([make_clip(light) for light in lights], SPEC)


@pytest.fixture
def model() -> HeldModel:
    return HeldModel()


@pytest.fixture
def server(model: HeldModel) -> Iterator[RunningServer]:
    with running_server(model, limits=LIMITS) as server:
        yield server


@pytest.fixture
def guarded(model: HeldModel) -> Iterator[RunningServer]:
    with running_server(model, TOKEN, LIMITS) as server:
        yield server


def is_problem(answer: object, status: int, words: str) -> bool:
    """Whether an answer is the problem document of this status, with these words in it."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status == status, answer.json
    assert words in answer.json["detail"], answer.json
    return True


def test_clips_are_scored(server: RunningServer) -> None:
    answer = server.score(body_of(40, 200))
    assert answer.status == 200
    scores = HeldScorer().score([make_clip(40), make_clip(200)])
    assert answer.json == {
        "model": {"name": "brightness", "version": "1"},
        "scores": [{name: getattr(score, name) for name in ("score", "level", "level_probs", "uncertainty")} for score in scores],
    }
    assert server.metric('fvq_scorer_requests_total{status="200"}') == 1
    assert server.metric("fvq_scorer_clips_total") == 2
    assert server.metric("fvq_scorer_queue_clips") == 0
    assert server.metric("fvq_scorer_batch_clips_count") == 1
    assert server.metric("fvq_scorer_body_bytes_count") == 1
    assert server.metric("fvq_scorer_ready") == 1
    assert server.metric('fvq_scorer_model{name="brightness",version="1"}') == 1


def test_the_model_says_what_it_takes(server: RunningServer) -> None:
    answer = server.request("GET", "/v1/model")
    assert answer.status == 200
    assert answer.json == {
        "name": "brightness",
        "version": "1",
        "spec": SPEC.values(),
        "statistics": 20,
        "limits": {"clips": 4, "body_bytes": largest_body(SPEC, 20, 4)},
    }


def test_a_connection_is_kept_for_more_requests(server: RunningServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for body, status in ((body_of(1), 200), (b"x" * 100, 400), (body_of(1, 2), 200)):
        connection.request("POST", "/v1/score", body, {"Content-Type": MEDIA_TYPE})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_a_bad_body_is_400_with_what_is_wrong(server: RunningServer) -> None:
    assert is_problem(server.score(b"\xff" * 100), 400, "the header has 18446744073709551615 bytes")
    assert is_problem(server.score(body_of(1)[:-1]), 400, "the tensors have")
    assert server.metric('fvq_scorer_requests_total{status="400"}') == 2


def test_another_specification_is_409_with_the_right_one(server: RunningServer) -> None:
    other = replace(SPEC, frames=2)
    answer = server.score(pack([make_clip(spec=other)], other))
    assert is_problem(answer, 409, "frames is 2, not 4")
    assert answer.json["spec"] == SPEC.values()


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9", f"Bearer {TOKEN[:-1]}"]
)
def test_without_the_token_it_is_401(guarded: RunningServer, authorization: str) -> None:
    answer = guarded.score(body_of(1), authorization=authorization)
    assert is_problem(answer, 401, "bearer token")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert is_problem(guarded.request("GET", "/v1/model", authorization=authorization), 401, "bearer token")
    assert guarded.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_with_the_token_it_is_200(guarded: RunningServer, authorization: str) -> None:
    assert guarded.score(body_of(1), authorization=authorization).status == 200


def test_the_token_is_checked_before_the_body_comes(guarded: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", guarded.port), 10) as client:
        client.sendall(f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: 9\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_no_token_is_in_the_log(guarded: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        guarded.score(body_of(1), authorization=f"Bearer {TOKEN}", x_request_id="request-7")
        guarded.score(body_of(1), authorization="Bearer wrong-secret")
    lines = [json.dumps(vars(record), default=str) for record in caplog.records if record.name == app.__name__]
    assert len(lines) == 2
    assert "request-7" in lines[0]
    assert not any(TOKEN in line or "wrong-secret" in line for line in lines)


@pytest.mark.parametrize(("given", "kept"), [("run_1.a-B", True), ("x" * 65, False), ("a b", False), ("", False)])
def test_a_request_has_an_id(server: RunningServer, given: str, kept: bool) -> None:
    answer = server.score(body_of(1), x_request_id=given)
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("media_type", ["", "application/octet-stream", "application/json"])
def test_another_type_is_415(server: RunningServer, media_type: str) -> None:
    assert is_problem(server.score(body_of(1), content_type=media_type), 415, MEDIA_TYPE)


def test_a_type_with_parameters_is_taken(server: RunningServer) -> None:
    assert server.score(body_of(1), content_type=f"{MEDIA_TYPE.upper()}; x=y").status == 200


def test_a_content_encoding_is_415(server: RunningServer) -> None:
    assert is_problem(server.score(body_of(1), content_encoding="gzip"), 415, "Content-Encoding")


def test_a_body_without_a_length_is_411(server: RunningServer) -> None:
    # No byte of it is sent: a server that answers and closes while some are looks like one that broke off.
    answer = server.request("POST", "/v1/score", content_type=MEDIA_TYPE, transfer_encoding="chunked")
    assert is_problem(answer, 411, "Content-Length is missing")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("length", [str(largest_body(SPEC, 20, 4) + 1), "2147483648", "9" * 18])
def test_a_body_that_is_too_large_is_413_before_it_comes(server: RunningServer, length: str) -> None:
    tracemalloc.start()
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(
            f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert server.metric("fvq_scorer_queue_clips") == 0


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/score", 405), ("POST", "/v1/model", 405), ("GET", "/docs", 404)]
)
def test_other_paths_and_methods(server: RunningServer, method: str, path: str, status: int) -> None:
    assert is_problem(server.request(method, path), status, "")


def bad_clip() -> ModelInput:
    clip = make_clip()
    clip.statistics[-1] = 13
    return clip


def test_a_clip_that_the_model_cannot_score_is_422_with_its_place(server: RunningServer) -> None:
    answer = server.score(pack([make_clip(), bad_clip()], SPEC))
    assert is_problem(answer, 422, "clip 1: the model gave a score that is not a finite number")
    assert answer.json["clips"] == [1]
    assert server.request("GET", "/healthz").status == 200


def test_a_broken_model_is_500_and_not_healthy(server: RunningServer, model: HeldModel) -> None:
    model.engine.broken = True
    assert is_problem(server.score(body_of(1)), 500, "cannot score a test clip")
    answer = server.request("GET", "/healthz")
    assert answer.status == 503
    assert "cannot score a test clip" in answer.json["status"]
    model.engine.broken = False
    assert server.score(body_of(1)).status == 200
    assert server.request("GET", "/healthz").status == 200


def test_a_model_that_is_well_again_is_healthy_without_a_request(model: HeldModel) -> None:
    with running_server(model, check_seconds=0.05) as server:
        model.engine.broken = True
        server.score(body_of(1))
        wait_for("a second test clip", lambda: model.engine.checks > 1, 10, 0.01)
        assert server.request("GET", "/healthz").status == 503
        model.engine.broken = False
        wait_for("a healthy server", lambda: server.request("GET", "/healthz").status == 200, 10, 0.01)


@pytest.mark.parametrize("for_none", [False, True], ids=["for one clip", "for no clip"])
def test_a_lack_of_memory_is_503_with_retry_after(server: RunningServer, model: HeldModel, for_none: bool) -> None:
    model.engine.memory, model.engine.broken = False, for_none
    large = make_clip()
    large.statistics[-1] = 12
    answer = server.score(pack([make_clip(), large], SPEC))
    assert is_problem(answer, 503, "cannot score a test clip" if for_none else "there is no memory for a clip")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert server.request("GET", "/healthz").status == (503 if for_none else 200)
    model.engine.memory, model.engine.broken = True, False
    assert server.score(pack([make_clip(), large], SPEC)).status == 200
    assert server.request("GET", "/healthz").status == 200


def test_an_error_of_the_server_is_500_without_its_words(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(app, "unpack", broken)
    answer = server.score(body_of(1))
    assert is_problem(answer, 500, "the server failed; its log says why")
    assert "secret" not in str(answer.json)
    assert server.metric("fvq_scorer_queue_clips") == 0


def test_a_full_queue_is_503_with_retry_after(server: RunningServer, model: HeldModel) -> None:
    model.engine.go.clear()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(server.score, body_of(1, 2, 3, 4)) for _ in range(2)]
        wait_for("a full queue", lambda: server.metric("fvq_scorer_queue_clips") == 8, 10)
        answer = server.score(body_of(1))
        assert is_problem(answer, 503, "8 clips are in work, and there was no room for 1 more")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert server.request("GET", "/healthz").status == 200
        model.engine.go.set()
        assert [answer.result().status for answer in waiting] == [200, 200]
    assert server.metric('fvq_scorer_requests_total{status="503"}') == 1


def test_a_request_waits_for_room_before_its_body_is_read(model: HeldModel) -> None:
    with running_server(model, limits=replace(LIMITS, wait_seconds=20)) as server, ThreadPoolExecutor(3) as threads:
        model.engine.go.clear()
        first = [threads.submit(server.score, body_of(1, 2, 3, 4)) for _ in range(2)]
        wait_for("a full queue", lambda: server.metric("fvq_scorer_queue_clips") == 8, 10)
        later = threads.submit(server.score, body_of(5))
        wait_for("a request that waits", lambda: server.metric("fvq_scorer_waiting_requests") == 1, 10)
        assert server.metric("fvq_scorer_body_bytes_count") == 2
        model.engine.go.set()
        assert [answer.result().status for answer in (*first, later)] == [200] * 3
        assert server.metric("fvq_scorer_waiting_requests") == 0


def test_a_client_that_goes_makes_room(server: RunningServer, model: HeldModel) -> None:
    model.engine.go.clear()
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: "
    body = body_of(1, 2, 3, 4)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(server.score, body_of(9))
        wait_for("the first batch", lambda: model.engine.at_work.is_set(), 10)
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            wait_for("two requests", lambda: server.metric("fvq_scorer_queue_clips") == 5, 10)
        wait_for("room", lambda: server.metric("fvq_scorer_queue_clips") == 1, 10)
        model.engine.go.set()
        assert first.result().status == 200
    assert server.metric('fvq_scorer_requests_total{status="499"}') == 1
    assert model.engine.batches == [1]


def test_a_slow_body_is_408_and_leaves_no_clips(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body_of(1))}\r\n\r\n"
        client.sendall(head.encode() + b"1234")
        answer = client.recv(2000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
    assert server.metric("fvq_scorer_queue_clips") == 0


def test_a_client_that_goes_within_its_body_leaves_no_clips(model: HeldModel) -> None:
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body_of(1))}\r\n\r\n"
    # The server waits for the body for longer than this test: it is the client's leaving that makes room.
    with running_server(model, limits=replace(LIMITS, body_seconds=600)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(head.encode() + b"1234")
            wait_for("admission", lambda: server.metric("fvq_scorer_queue_clips") == 1, 60)
        wait_for("room", lambda: server.metric("fvq_scorer_queue_clips") == 0, 60)


def test_while_the_model_is_loaded_it_is_503(model: HeldModel) -> None:
    model.loading.clear()
    with running_server(model, limits=LIMITS, ready=False) as server:
        health = server.request("GET", "/healthz")
        assert (health.status, health.json) == (503, {"status": "the model is being loaded"})
        for answer in (server.score(body_of(1)), server.request("GET", "/v1/model")):
            assert is_problem(answer, 503, "the model is being loaded")
            assert answer.headers["retry-after"] == "5"
        assert server.metric("fvq_scorer_ready") == 0
        model.loading.set()
        wait_for("the model", lambda: server.request("GET", "/healthz").status == 200, 10)
        assert server.score(body_of(1)).status == 200


def test_a_model_that_cannot_be_loaded_is_said(model: HeldModel) -> None:
    model.error = ModelError("model 'x': there is no such directory")
    with running_server(model, ready=False) as server:
        wait_for("the reason", lambda: "no such directory" in server.request("GET", "/healthz").json["status"], 10)
        assert is_problem(server.score(body_of(1)), 503, "the model cannot be loaded: model 'x': there is no such directory")


def test_a_batch_that_hangs_is_said(server: RunningServer, model: HeldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.engine.go.clear()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(server.score, body_of(1))
        wait_for("a batch", lambda: model.engine.at_work.is_set(), 10)
        monkeypatch.setattr(replica, "HUNG_SECONDS", 0.0)
        answer = server.request("GET", "/healthz")
        assert answer.status == 503
        assert "at work on one batch for" in answer.json["status"]
        monkeypatch.setattr(replica, "HUNG_SECONDS", 120.0)
        model.engine.go.set()
        assert waiting.result().status == 200


def test_headers_that_do_not_come_end_the_connection(model: HeldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server(model) as server:
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)  # only now: the server was asked whether it is ready
        for start in (b"", b"POST /v1/score HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), 10) as client:
                client.sendall(start)
                assert ended(client)


def ended(client: socket.socket) -> bool:
    """Whether the server ends the connection without an answer."""
    client.settimeout(10)
    try:
        return client.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_headers_without_end_end_the_connection(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for number in range(10_000):
                client.sendall(f"X-{number}: {'y' * 1000}\r\n".encode())
            pytest.fail("10 MB of headers were taken")
        assert ended(client)


def test_idle_connections_make_room_for_others(model: HeldModel) -> None:
    with running_server(model, idle_connections=5) as server:
        opened = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(40)]
        assert server.request("GET", "/healthz").status == 200
        assert server.score(body_of(1)).status == 200
        assert ended(opened[0])
        for client in opened:
            client.close()


def test_a_connection_that_waits_for_its_scores_is_not_idle(server: RunningServer, model: HeldModel) -> None:
    model.engine.go.clear()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(server.score, body_of(1))
        wait_for("a batch", lambda: model.engine.at_work.is_set(), 10)
        opened = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(100)]
        model.engine.go.set()
        assert waiting.result().status == 200
        for client in opened:
            client.close()
