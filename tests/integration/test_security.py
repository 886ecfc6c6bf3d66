"""A broker that requires TLS and a user: every part of the product connects to it, and no output contains the password."""

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
    """A running Apache Kafka that requires TLS and the user `fvq`."""
    server = KafkaServer(tmp_path_factory.mktemp("secure-kafka") / "data", secure=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(secure: KafkaServer) -> dict[str, str]:
    """The settings with which the product connects to that broker."""
    return {
        "FVQ_BROKER": secure.broker,
        "FVQ_KAFKA_SECURITY": "sasl_ssl",
        "FVQ_KAFKA_USER": "fvq",
        "FVQ_KAFKA_PASSWORD_FILE": str(secure.folder / "password"),
        "FVQ_KAFKA_CA_FILE": str(secure.folder / "ca.pem"),
    }


def test_topics_ingest_and_worker_connect_with_tls_and_scram(
    settings: dict[str, str], secure: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = (secure.folder / "password").read_text()
    for command in (("topics", "create"), ("topics", "check")):
        finished = fvq(*command, **settings)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    announced = fvq("ingest", "--source", str(DEMO), "--fast", FVQ_DATA_DIR=str(tmp_path), **settings)
    assert announced.returncode == 0, announced.stdout + announced.stderr
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    follower = Follower(secure.broker, SCORES_TOPIC, **parts.connection(Settings()).client_options())
    worker = Worker(
        "worker", tmp_path, FVQ_MEDIA_ROOTS=str(tmp_path), FVQ_LIVE_WINDOW="off", FVQ_LOG_LEVEL="debug",
        FVQ_SESSION_TIMEOUT="60", **settings,
    ).start()  # fmt: skip
    try:
        segments = len(announced.stdout.splitlines())
        wait_for("every score", lambda: len(follower.read()) == segments, 240)
        assert {SegmentScore.from_bytes(value).status for value in follower.values} == {"scored"}
        worker.stop()
        assert password not in worker.log.read_text(errors="replace")
    finally:
        worker.kill()
        follower.close()


def test_doctor_accepts_the_right_password_and_commands_refuse_a_wrong_one(
    settings: dict[str, str], secure: KafkaServer, tmp_path: Path
) -> None:
    password = (secure.folder / "password").read_text()
    accepted = fvq("doctor", FVQ_DATA_DIR=str(tmp_path), **(settings | {"FVQ_KAFKA_PASSWORD": password}))
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert password not in accepted.stdout + accepted.stderr
    wrong = settings | {"FVQ_KAFKA_PASSWORD": "not-this-one"}
    for command in (("topics", "check"), ("worker",)):
        refused = fvq(*command, FVQ_DATA_DIR=str(tmp_path), **wrong)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        assert "FVQ_KAFKA" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "not-this-one" not in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"FVQ_KAFKA_CA_FILE": "/nowhere.pem"}, "FVQ_KAFKA_CA_FILE"),
        ({"FVQ_KAFKA_PASSWORD_FILE": "/nowhere"}, "FVQ_KAFKA_PASSWORD_FILE"),
        ({"FVQ_KAFKA_USER": ""}, "kafka_user"),
        ({"FVQ_KAFKA_SECURITY": "TLS"}, "FVQ_KAFKA_SECURITY"),
    ],
)
def test_the_error_for_a_wrong_setting_names_it(tmp_path: Path, changed: dict[str, str], named: str) -> None:
    settings = {"FVQ_BROKER": "127.0.0.1:1", "FVQ_KAFKA_SECURITY": "SASL_SSL", "FVQ_KAFKA_USER": "fvq"}
    secret = tmp_path / "secret"
    secret.write_text("password")
    refused = fvq("topics", "check", **(settings | {"FVQ_KAFKA_PASSWORD_FILE": str(secret)} | changed))
    assert refused.returncode == 2, refused.stderr
    assert named in refused.stderr
    assert os.linesep not in refused.stderr.strip(), "one line that a user can act on"
