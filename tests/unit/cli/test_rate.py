"""`fvq rate`: the links of raters, and options that do not go together."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams import parts
from streams.cli.app import app
from streams.errors import BrokerError, SettingsError
from streams.privacy.exports import exports
from streams.queue.topic import QueuePlace
from streams.rating.store import RatingStore
from streams.rating.values import Rating
from streams.settings import Settings
from tests.support.queue import scored, stored_example


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("", "http://127.0.0.1:8090/#token="),
        ("https://rate.example", "https://rate.example/#token="),
        ("https://studio.example/rate/", "https://studio.example/rate/#token="),
    ],
)
def test_a_raters_link_is_the_address_that_raters_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, link: str
) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FVQ_RATE_URL", url)
    added = CliRunner().invoke(app, ["rate", "add", "ada"])
    assert added.exit_code == 0, added.output
    token = added.stdout.split()[1]
    assert added.stdout.split()[-1] == link + token
    rater = RatingStore(tmp_path).sign_in(token)
    assert rater is not None
    assert rater.name == "ada"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", socket.gethostname()), ("::", socket.gethostname())],
)
def test_a_link_names_a_host_that_raters_can_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, shown: str) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FVQ_RATE_HOST", host)
    added = CliRunner().invoke(app, ["rate", "add", "ada", "--port", "8091"])
    assert f"link   http://{shown}:8091/#token=" in added.stdout


def test_a_rater_whose_votes_are_all_alike_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    for name in ("ada", "same"):
        assert CliRunner().invoke(app, ["rate", "add", name]).exit_code == 0
    votes = [
        Rating(name, ("s", str(clip)), 1, 90.0 if (name, clip) == ("ada", 0) else 50.0, "acr", 1.0, "")
        for name in ("ada", "same")
        for clip in range(10)
    ]
    monkeypatch.setattr(RatingStore, "ratings", lambda _: votes)
    ada, same = CliRunner().invoke(app, ["rate", "ls"]).output.splitlines()
    assert "ALIKE" not in ada
    assert same.endswith("  ALL VOTES ALIKE")


def test_a_link_needs_the_port_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    refused = CliRunner().invoke(app, ["rate", "add", "ada", "--port", "0"])
    assert refused.exit_code == 2
    assert "no raters yet" in CliRunner().invoke(app, ["rate", "ls"]).output


def test_an_address_that_cannot_be_listened_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = CliRunner().invoke(app, ["rate", "serve", "--port", str(port)])
    assert isinstance(served.exception, SettingsError)
    assert f"FVQ_RATE_HOST, --port: cannot listen on 127.0.0.1:{port}: " in str(served.exception)
    monkeypatch.setenv("FVQ_RATE_HOST", "203.0.113.7")  # an address for documentation, which no machine has
    served = CliRunner().invoke(app, ["rate", "serve", "--port", "0"])
    assert isinstance(served.exception, SettingsError)
    assert "cannot listen on 203.0.113.7:0: " in str(served.exception)


def test_an_export_that_cannot_read_the_queue_is_not_noted_for_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: QueuePlace) -> None:
        raise BrokerError("the broker is away")

    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    own = tmp_path / "own.csv"
    own.write_text("what somebody had there\n")
    with monkeypatch.context() as patched:
        patched.setattr(QueuePlace, "read", away)
        failed = CliRunner().invoke(app, ["rate", "export", str(own)])
    assert isinstance(failed.exception, BrokerError)
    assert list(exports(tmp_path)) == []
    CliRunner().invoke(app, ["rate", "export", str(own)])
    assert [export.path for export in exports(tmp_path)] == [own]


def test_an_export_without_a_clip_says_what_there_is_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    store = parts.clip_store(Settings())
    stored_example(store, scored(1))
    exported = CliRunner().invoke(app, ["rate", "export", str(tmp_path / "rated.csv")])
    assert f"1 clip waits in the clip store {tmp_path / 'clips'}" in str(exported.exception)
    assert f"0 ratings in {tmp_path / 'ratings.sqlite'}" in str(exported.exception)


def test_digit_votes_are_for_the_five_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    served = CliRunner().invoke(app, ["rate", "serve", "--scale", "slider", "--digit-votes"])
    assert isinstance(served.exception, SettingsError)
    assert "--digit-votes" in str(served.exception)
