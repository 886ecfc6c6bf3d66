"""The worker's side of a served scorer, against a scorer that does what a test asks."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import FvqError, ModelError, ScorerError, SpecChangedError
from scorer.remote.address import Address, Reply
from scorer.remote.circuit import LONGEST_PAUSE
from scorer.remote.client import RemoteScorer
from scorer.remote.rollover import PATIENCE
from scorer.spec import ModelId
from tests.support.doubles import SPEC, make_clip
from tests.support.scripted_scorer import ScriptedScorer

OTHER, SLOW = replace(SPEC, frames=6), ("hang", "drip", "drip-headers")
CLIPS = [make_clip(light) for light in (50, 100, 150, 200)]


class Clock:
    """Monotonic seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[ScriptedScorer]:
    with ScriptedScorer() as scripted:
        yield scripted


@pytest.fixture
def second() -> Iterator[ScriptedScorer]:
    with ScriptedScorer() as scripted:
        yield scripted


def connected(clock: Clock, *servers: ScriptedScorer, seconds: float = 60.0) -> RemoteScorer:
    """A client that has learned the specification, and begins with the first server."""
    scorer = RemoteScorer([server.url for server in servers], seconds=seconds, clock=clock)
    scorer._replicas.sort(key=lambda replica: [server.url for server in servers].index(replica.address.url))
    scorer.connect()
    return scorer


def hurry(monkeypatch: pytest.MonkeyPatch, server: ScriptedScorer) -> None:
    """Give a server half a second for scores while it is a slow one, and every other answer the time of the client."""
    request = Address.request

    def limited(address: Address, method: str, path: str, body: bytes, headers: Any, seconds: float, most: int) -> Reply:
        is_slow = address.url == server.url and path == "/v1/score" and server.script.fault in SLOW
        return request(address, method, path, body, headers, 0.5 if is_slow else seconds, most)

    monkeypatch.setattr(Address, "request", limited)


def test_a_batch_is_scored_in_one_request_and_in_order(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    assert (scorer.spec, scorer.model) == (SPEC, ModelId("scripted", "1"))
    for _ in range(3):
        scores = scorer.score(CLIPS)
        assert [score.score for score in scores] == sorted(score.score for score in scores)
        assert {score.model for score in scores} == {ModelId("scripted", "1")}
        assert not any(score.fallback for score in scores)
    assert server.batches == [4, 4, 4]
    assert server.connections == 1, "the connection is kept"
    assert scorer.score([]) == []
    assert scorer.problem == ""


def test_a_batch_is_split_only_where_the_server_takes_fewer_clips(server: ScriptedScorer, clock: Clock) -> None:
    server.behave(most_clips=3)
    assert len(connected(clock, server).score(CLIPS)) == 4
    assert server.batches == [3, 1]


def test_another_version_is_told(server: ScriptedScorer, clock: Clock) -> None:
    models: list[str] = []
    scorer = RemoteScorer([server.url], clock=clock, notice=lambda model: models.append(str(model)))
    scorer.connect()
    scorer.score(CLIPS)
    server.behave(version="2")
    assert scorer.score(CLIPS)[0].model.version == "2"
    assert models == ["scripted@1", "scripted@2"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reset", "gave no answer: (ConnectionResetError|IncompleteRead|RemoteDisconnected)"),
        ("hang", "gave no answer: no answer within 0.5 s"),
        ("drip", "gave no answer: no answer within 0.5 s"),
        ("drip-headers", "gave no answer: no answer within 0.5 s"),
        ("length", "gave no answer: IncompleteRead"),
        ("huge", r"gave no answer: the answer has more than \d+ bytes"),
        ("500", "answered 500: fault of the test"),
        ("502", "answered 502: fault of the test"),
        ("503", "answered 503: fault of the test"),
        ("404", "answered 404: fault of the test"),
        ("garbage", "answered 200, but the answer is no scorer's: Invalid JSON"),
        ("deep", "answered 200, but the answer is no scorer's: Invalid JSON"),
        ("nan", "answered 200, but the answer is no scorer's: scores.3.score: must be a finite number"),
        ("over", "scores.3.score: must be less than or equal to 100"),
        ("count", "answered 200, but the answer has 3 scores for 4 clips"),
        ("level", "scores.3.level: is not one of bad"),
        ("redirect", "answered 307, a redirect, which is not followed"),
    ],
)
def test_what_a_server_does_wrong_is_its_failure_and_the_next_address_answers(
    server: ScriptedScorer, second: ScriptedScorer, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    hurry(monkeypatch, server)
    scorer = connected(clock, server, second)
    server.behave(fault=fault, only="/v1/score")
    started = time.monotonic()
    assert len(scorer.score(CLIPS)) == 4
    assert time.monotonic() - started < 30, "one that hangs does so for 60 s, one that drips for ever"
    assert second.batches == [4]
    asked = server.asked
    scorer.score(CLIPS)
    assert server.asked == asked, "the client stays with the address that answers"
    alone = connected(clock, server)
    with pytest.raises(ScorerError, match=f"^http://127.0.0.1:{server.port} .*{words}") as raised:
        alone.score(CLIPS)
    assert raised.value.reason.isprintable()
    assert 0.4 < raised.value.retry_after < 20
    assert alone.problem == raised.value.reason
    server.behave()
    with pytest.raises(ScorerError):
        alone.score(CLIPS)  # the address is left alone for a while
    clock.now += raised.value.retry_after
    assert len(alone.score(CLIPS)) == 4
    assert alone.problem == ""


def test_the_log_tells_when_an_address_fails_and_when_it_is_back(
    server: ScriptedScorer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = connected(clock, server)
    with caplog.at_level(logging.INFO):
        server.behave(fault="nan")
        for _ in range(4):
            with pytest.raises(ScorerError):
                scorer.score(CLIPS)
            clock.now += 20
        server.behave()
        scorer.score(CLIPS)
    failed, back = [record.getMessage() for record in caplog.records]
    assert failed.startswith(f"the scorer at {server.url} answered 200, but the answer is no scorer's: scores.3.score")
    assert back == f"the scorer at {server.url} answers again"


def test_an_address_where_nothing_listens_is_passed_over(server: ScriptedScorer, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    alone = RemoteScorer([url], clock=clock)
    with pytest.raises(ScorerError, match=r"ConnectionRefusedError \(Connection refused\)"):
        alone.connect()
    both = RemoteScorer([url, server.url], clock=clock)
    both.connect()
    assert len(both.score(CLIPS)) == 4


def test_a_server_that_hangs_is_not_waited_for_again_and_again(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    scorer._seconds = 0.3  # only now: it took an answer to connect
    server.behave(fault="hang")
    hasty = RemoteScorer([server.url], seconds=0.3, clock=clock)
    for ask in (lambda: scorer.score(CLIPS), hasty.connect):
        with pytest.raises(ScorerError, match=r"no answer within 0\.3 s") as raised:
            ask()
        assert raised.value.retry_after >= LONGEST_PAUSE


def test_retry_after_is_heeded_exactly_and_within_bounds(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    for asked, least, most in (("3", 3, 4), ("3", 3, 4), ("999999", 60, 75), ("tomorrow", 0.5, 1)):
        server.behave(fault="503", retry_after=asked)
        with pytest.raises(ScorerError) as raised:
            scorer.score(CLIPS)
        assert least <= raised.value.retry_after <= most
        clock.now += 80
    server.behave()
    assert len(scorer.score(CLIPS)) == 4


def test_one_bad_clip_is_refused_and_a_server_that_refuses_all_is_not_believed(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    server.behave(refused=100)
    with pytest.raises(ModelError, match="the scorer answered 422: the model gave no number"):
        scorer.score(CLIPS)
    with pytest.raises(ModelError):
        scorer.score(CLIPS[1:2])
    assert len(scorer.score(CLIPS[2:])) == 2
    server.behave(refuses_all=True)
    with pytest.raises(ModelError):
        scorer.score(CLIPS)
    with pytest.raises(ScorerError, match="refuses every clip: it answered 400: this version takes no such body"):
        scorer.score(CLIPS[1:2])


def test_the_token_is_sent_read_again_when_it_is_refused_and_named_when_it_is_wrong(
    server: ScriptedScorer, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    server.behave(token="first")
    scorer = RemoteScorer([server.url], file.read_text, clock=clock)
    scorer.connect()
    server.behave(token="second")
    with pytest.raises(
        ScorerError, match="answered 401: the token in FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE is not the scorer's"
    ):
        scorer.score(CLIPS)
    file.write_text("second")
    clock.now += 30
    assert len(scorer.score(CLIPS)) == 4
    server.behave(token="third")
    file.write_text("third")
    assert len(scorer.score(CLIPS)) == 4, "a token that was replaced costs no wait"
    with pytest.raises(ScorerError, match="it asks for a token: set FVQ_SCORER_TOKEN") as raised:
        RemoteScorer([server.url], clock=clock).connect()
    assert "third" not in str(raised.value)


def test_a_token_that_cannot_be_read_is_said(server: ScriptedScorer, clock: Clock) -> None:
    def read() -> str:
        raise FvqError("FVQ_SCORER_TOKEN_FILE: cannot be read")

    with pytest.raises(ScorerError, match="was not asked: FVQ_SCORER_TOKEN_FILE: cannot be read"):
        RemoteScorer([server.url], read, clock=clock).connect()
    assert server.asked == 0


def test_another_specification_is_taken_after_a_while_without_the_present_one(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    scorer.score(CLIPS)
    server.behave(spec=OTHER)
    with pytest.raises(ScorerError, match="takes clips that are sampled by another specification"):
        scorer.score(CLIPS)
    assert scorer.spec == SPEC
    clock.now += PATIENCE
    with pytest.raises(SpecChangedError):
        scorer.score(CLIPS)
    assert scorer.spec == OTHER
    clock.now += 2
    assert len(scorer.score([make_clip(spec=OTHER)])) == 1


def test_while_replicas_are_replaced_the_one_that_takes_our_clips_is_asked(
    server: ScriptedScorer, second: ScriptedScorer, clock: Clock
) -> None:
    scorer = connected(clock, server, second)
    scorer.score(CLIPS)
    server.behave(spec=OTHER)
    for _ in range(30):
        clock.now += 1
        assert len(scorer.score(CLIPS)) == 4
    assert scorer.spec == SPEC
    assert second.batches == [4] * 30
    second.behave(fault="503")
    with pytest.raises(ScorerError):
        scorer.score(CLIPS)
    second.behave(spec=OTHER)
    clock.now += PATIENCE
    with pytest.raises(SpecChangedError):
        scorer.score(CLIPS)


def test_replicas_behind_one_address_with_two_specifications_do_not_make_it_flap(server: ScriptedScorer, clock: Clock) -> None:
    """As behind a load balancer in a roll-over: each connection leads to one or the other."""
    scorer = connected(clock, server)
    changes = answers = 0
    for turn in range(200):
        server.behave(spec=OTHER if turn % 3 else SPEC)
        clock.now += 1.5
        try:
            answers += len(scorer.score([make_clip(spec=scorer.spec)]))
        except SpecChangedError:
            changes += 1
        except ScorerError:
            pass
    assert changes <= 2
    assert answers >= 60


def test_two_dead_replicas_of_two_specifications_change_nothing(
    server: ScriptedScorer, second: ScriptedScorer, clock: Clock
) -> None:
    scorer = connected(clock, server, second)
    second.behave(spec=OTHER)
    for scripted in (server, second):
        scripted.behave(fault="500")
    for _ in range(50):
        clock.now += 20
        with pytest.raises(ScorerError):
            scorer.score(CLIPS)
    assert scorer.spec == SPEC


@pytest.mark.parametrize("spec", [{}, {"frames": 10**9}, None, asdict(replace(SPEC, frames=96, frame_size=1024))])
def test_a_specification_that_is_none_is_the_servers_failure(
    server: ScriptedScorer, clock: Clock, monkeypatch: pytest.MonkeyPatch, spec: object
) -> None:
    dumps = json.dumps
    monkeypatch.setattr(
        "tests.support.scripted_scorer.json.dumps",
        lambda values: dumps(values | {"spec": spec} if "spec" in values else values),
    )
    with pytest.raises(ScorerError, match=r"answered 200, but the answer (is no scorer's|asks for clips of 288 MiB)"):
        RemoteScorer([server.url], clock=clock).connect()


def test_a_probe_takes_over_a_scorer_that_gives_scores(server: ScriptedScorer, clock: Clock) -> None:
    scorer = RemoteScorer([server.url], clock=clock)
    server.behave(fault="503", only="/v1/score")
    with pytest.raises(ScorerError):
        scorer.probe()
    server.behave(spec=OTHER)
    clock.now += 20
    scorer.probe()
    assert (scorer.spec, server.batches) == (OTHER, [1])


def test_a_request_under_way_ends_when_the_worker_stops(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server, seconds=300)
    server.behave(fault="hang")
    threading.Timer(0.3, scorer.close).start()
    started = time.monotonic()
    with pytest.raises(ScorerError):
        scorer.score(CLIPS)
    assert time.monotonic() - started < 60


def test_a_certificate_is_verified(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedScorer()
    certificate = scripted.use_tls(tmp_path)
    with scripted:
        with pytest.raises(ScorerError, match="gave no answer: SSLCertVerificationError"):
            RemoteScorer([scripted.url], clock=clock).connect()
        assert scripted.asked == 0, "nothing was sent"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusting = RemoteScorer([scripted.url], clock=clock)
        trusting.connect()
        assert len(trusting.score(CLIPS)) == 4


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(server: ScriptedScorer, clock: Clock) -> None:
    scorer = connected(clock, server)
    scorer.score(CLIPS)
    server.hang_up()
    assert len(scorer.score(CLIPS)) == 4
    assert server.connections == 2


def test_with_https_it_is_no_failure_either(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedScorer()
    monkeypatch.setenv("SSL_CERT_FILE", str(scripted.use_tls(tmp_path)))
    with scripted:
        scorer = connected(clock, scripted)
        scorer.score(CLIPS)
        scripted.hang_up()
        assert len(scorer.score(CLIPS)) == 4
        assert scripted.connections == 2


def test_a_replica_that_refuses_everything_beside_a_good_one_behind_one_address_refuses_no_clip(
    server: ScriptedScorer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = connected(clock, server)
    connect = Address._connect

    def connect_to_the_next(address: Address, until: float) -> HTTPConnection:
        server.behave(fault="" if server.script.fault else "400", only="/v1/score")
        return connect(address, until)

    monkeypatch.setattr(Address, "_connect", connect_to_the_next)
    scorer._replicas[0].address.close()
    assert [score.score for score in scorer.score(CLIPS[:1])] == [pytest.approx(50 / 2.55, abs=0.1)]
    assert server.script.fault == "", "the first connection led to the replica that refuses"
