"""What is ours of the Ray host, without Ray; `tests/integration/test_ray.py` has the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scorer.remote import ray_host
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.ray_host import ReplicaSource, ScorerDeployment, reasons_in
from scorer.remote.replica import Limits
from tests.support.served import HeldModel

LOG = """[2026-11-26 04:38:20,747 I 65 65] (raylet) main.cc:200: Setting cluster ID
[2026-11-26 04:38:35,747 W 65 65] (raylet) agent_manager.cc:90: Agent process is slow
[2026-11-26 04:38:50,747 C 65 65] (raylet) ports.cc:88: Timed out waiting for file /tmp/x/metrics_agent_port
*** StackTrace Information ***
/lib/raylet(+0xe8) [0x55] ray::operator<<()
"""


class FakeRay:
    """Fails to start so many times, and leaves logs as Ray does."""

    def __init__(self, failures: int) -> None:
        self.failures, self.started, self.ended = failures, 0, 0

    def init(self, _temp_dir: str, **_: Any) -> None:
        self.started += 1
        if self.started <= self.failures:
            logs = Path(_temp_dir) / "session_latest" / "logs"
            logs.mkdir(parents=True)
            (logs / "raylet.out").write_text(LOG)
            raise RuntimeError("The current node timed out during startup.\nThis could happen because")

    def shutdown(self) -> None:
        self.ended += 1


def test_ray_is_started_again_where_it_failed(tmp_path: Path) -> None:
    ray = FakeRay(2)
    ray_host._start(ray, tmp_path, 1)
    assert (ray.started, ray.ended) == (3, 2)


def test_where_ray_does_not_start_its_own_reason_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ray = FakeRay(9)
    with pytest.raises(ray_host.RayStartError, match=r"raylet\.out: .*Timed out waiting for file /tmp/x/metrics_agent_port"):
        ray_host._start(ray, tmp_path, 1)
    assert ray.started == ray_host.ATTEMPTS
    assert caplog.text.count("The current node timed out during startup.") == ray_host.ATTEMPTS


def test_without_logs_there_is_no_reason(tmp_path: Path) -> None:
    assert reasons_in(tmp_path) == []


def source(token: str | None, needs_token: bool) -> ReplicaSource:
    model = HeldModel()

    def load(_: ReplicaMetrics) -> HeldModel:
        return model.load()

    return ReplicaSource(load, lambda: token, needs_token, Limits())


async def new_replica(source: ReplicaSource) -> ScorerDeployment:
    replica = ScorerDeployment.__new__(ScorerDeployment)
    await replica.__init__(source)  # type: ignore[misc]
    return replica


async def test_a_replica_without_the_token_that_it_needs_does_not_start() -> None:
    with pytest.raises(ray_host.RayStartError, match="has no token: set FVQ_SCORER_TOKEN"):
        await new_replica(source(None, True))


async def test_a_replica_is_healthy_as_soon_as_it_runs() -> None:
    replica = await new_replica(source("secret", True))
    app = replica.__serve_build_asgi_app__()
    with pytest.raises(RuntimeError, match="the model is being loaded"):
        replica.check_health()
    async with app.router.lifespan_context(app):
        for _ in range(1000):
            if not replica._replica.problem():
                break
            await ray_host.asyncio.sleep(0.01)
        replica.check_health()
