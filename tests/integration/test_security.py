"""A broker that asks for TLS and a user: every part of the product speaks to it, and nothing tells the password."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import parts
from streams.events import SCORES_TOPIC, SegmentScore
from streams.settings import Settings
from tests.support.processes import ROOT, Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

DEMO = ROOT / "examples/face.mp4"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = KafkaServer(tmp_path_factory.mktemp("secure-kafka") / "data", secure=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(secure: KafkaServer) -> dict[str, str]:
    return {
        "FVQ_BROKER": secure.broker,
        "FVQ_KAFKA_SECURITY": "sasl_ssl",
        "FVQ_KAFKA_USER": "fvq",
        "FVQ_KAFKA_PASSWORD_FILE": str(secure.folder / "password"),
        "FVQ_KAFKA_CA_FILE": str(secure.folder / "ca.pem"),
    }


def test_topics_ingest_and_worker_speak_tls_and_scram(
    settings: dict[str, str], secure: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = (secure.folder / "password").read_text()
    for command in (("topics", "create"), ("topics", "check")):
        done = fvq(*command, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    announced = fvq("ingest", "--source", str(DEMO), "--fast", FVQ_DATA_DIR=str(tmp_path), **settings)
    assert announced.returncode == 0, announced.stdout + announced.stderr
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    follower = Follower(secure.broker, SCORES_TOPIC, **parts.connection(Settings()).client_options())
    worker = Worker(
        "worker", tmp_path, FVQ_MEDIA_ROOTS=str(tmp_path), FVQ_LIVE_WINDOW="off", FVQ_LOG_LEVEL="debug", **settings
    ).start()
    try:
        segments = len(announced.stdout.splitlines())
        wait_for("every score", lambda: len(follower.read()) == segments, 120)
        assert {SegmentScore.from_bytes(value).status for value in follower.values} == {"scored"}
        assert worker.terminate() == 0, worker.tail()
        assert password not in worker.log.read_text(errors="replace")
    finally:
        worker.kill()
        follower.close()


def test_doctor_and_a_wrong_password(settings: dict[str, str], secure: KafkaServer, tmp_path: Path) -> None:
    password = (secure.folder / "password").read_text()
    well = fvq("doctor", FVQ_DATA_DIR=str(tmp_path), **(settings | {"FVQ_KAFKA_PASSWORD": password}))
    assert well.returncode == 0, well.stdout + well.stderr
    assert password not in well.stdout + well.stderr
    wrong = settings | {"FVQ_KAFKA_PASSWORD": "not-this-one"}
    for command in (("topics", "check"), ("worker",)):
        done = fvq(*command, FVQ_DATA_DIR=str(tmp_path), **wrong)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "FVQ_KAFKA" in done.stderr
        assert "Traceback" not in done.stderr
        assert "not-this-one" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"FVQ_KAFKA_CA_FILE": "/nowhere.pem"}, "FVQ_KAFKA_CA_FILE"),
        ({"FVQ_KAFKA_PASSWORD_FILE": "/nowhere"}, "FVQ_KAFKA_PASSWORD_FILE"),
        ({"FVQ_KAFKA_USER": ""}, "kafka_user"),
        ({"FVQ_KAFKA_SECURITY": "TLS"}, "FVQ_KAFKA_SECURITY"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, changed: dict[str, str], named: str) -> None:
    settings = {"FVQ_BROKER": "127.0.0.1:1", "FVQ_KAFKA_SECURITY": "SASL_SSL", "FVQ_KAFKA_USER": "fvq"}
    secret = tmp_path / "secret"
    secret.write_text("password")
    done = fvq("topics", "check", **(settings | {"FVQ_KAFKA_PASSWORD_FILE": str(secret)} | changed))
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert os.linesep not in done.stderr.strip(), "one line that a user can act on"
