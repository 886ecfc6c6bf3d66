"""What `fvq serve` refuses before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scorer.remote.serve import listen
from streams.cli import serve as command
from streams.errors import ModelError, SettingsError
from streams.life import Life
from streams.ports import free_port
from streams.serve import ModelLoader, ray_app, replica_token, run_serve, run_serve_on_ray, serve_token
from streams.settings import Settings
from tests.unit.scoring.test_app import has_ipv6

LIFE = Life("scorer", "text")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3", ""])
def test_on_this_machine_no_token_is_needed(host: str) -> None:
    assert serve_token(Settings(serve_host=host)) is None
    assert serve_token(Settings(serve_host=host, scorer_token="secret")) == "secret"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gpu-1"])
def test_for_other_machines_a_token_is_needed(host: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="so others can connect: set FVQ_SCORER_TOKEN") as raised:
        run_serve(Settings(serve_host=host), LIFE)
    assert raised.value.path == "FVQ_SERVE_HOST"
    (tmp_path / "token").write_text("from-file\n")
    assert serve_token(Settings(serve_host=host, scorer_token_file=tmp_path / "token")) == "from-file"


def test_a_token_that_a_header_cannot_carry_is_refused() -> None:
    with pytest.raises(SettingsError, match="not ASCII") as raised:
        serve_token(Settings(scorer_token="gehéim"))
    assert "heim" not in str(raised.value)


def test_a_port_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"FVQ_SERVE_PORT: cannot listen on 127.0.0.1:{port}: Address already in use$"):
            run_serve(Settings(serve_port=port), LIFE)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_an_ipv6_address_that_is_taken_is_said_in_brackets() -> None:
    with listen("::1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on \[::1\]:{port}: Address already in use$"):
            run_serve(Settings(serve_host="::1", serve_port=port), LIFE)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1"])
def test_a_host_that_is_none_is_said(host: str) -> None:
    settings = Settings(serve_host=host, serve_port=0, scorer_token="secret")
    with pytest.raises(SettingsError, match=f"cannot listen on {host}:0"):
        run_serve(settings, LIFE)
    with pytest.raises(SettingsError, match=f"cannot listen on {host}:0"):
        run_serve_on_ray(settings, LIFE, 1, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_host_has_a_free_port(host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    with listen(host, free_port(host)) as listener:
        assert listener.getsockname()[1] > 0


def test_a_registry_that_does_not_answer_is_not_taken_for_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise ConnectionError("no store")

    monkeypatch.setattr(ModelLoader, "__call__", load)
    with pytest.raises(ModelError, match="the model cannot be loaded: no store"):
        run_serve(Settings(serve_port=0), LIFE)


@pytest.mark.parametrize("values", [{"serve_queue": 8}, {"serve_batch": 256, "serve_queue": 100}])
def test_the_queue_has_room_for_a_batch(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="serve_queue"):
        Settings(**values)


def test_options_of_ray_need_ray() -> None:
    with pytest.raises(SettingsError, match="--address: is for Ray Serve only: add --ray"):
        command.serve(address="10.0.0.1:6379")
    with pytest.raises(SettingsError, match="--replicas: is for Ray Serve only"):
        command.serve(replicas=2)


def test_ray_is_not_started_for_what_cannot_be_served() -> None:
    with pytest.raises(ModelError, match="no such directory"):
        run_serve_on_ray(Settings(model="no-such-model"), LIFE, 1, None)
    with pytest.raises(SettingsError, match="so others can connect"):
        run_serve_on_ray(Settings(serve_host="0.0.0.0"), LIFE, 1, None)


@pytest.mark.slow
def test_the_application_for_a_ray_cluster_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="FVQ_SCORER_TOKEN: is not set"):
        ray_app({})
    with pytest.raises(SettingsError, match=r"args\.replica: there is no such argument: they are replicas, cpus, gpus"):
        ray_app({"replica": "2"})
    assert replica_token() is None
    monkeypatch.setenv("FVQ_SCORER_TOKEN", "secret")
    assert replica_token() == "secret"
    assert type(ray_app({"replicas": "2", "gpus": "0.5"})).__name__ == "Application"
