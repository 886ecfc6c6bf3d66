"""An origin stops answering: the alert says so, once nobody is at work on it. A real origin, ingester, Kafka and worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from streams.events import ALERTS_TOPIC, QualityAlert
from tests.integration.test_live import live, until
from tests.support.origin import Origin
from tests.support.processes import FREE_WORKER, FVQ, Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower


@pytest.mark.timeout(900)
async def test_an_alert_of_silence_says_what_the_ingester_knows(kafka: KafkaServer, tmp_path: Path) -> None:
    await asyncio.to_thread(fvq, "topics", "create", FVQ_BROKER=kafka.broker)
    policy = tmp_path / "policy.yaml"
    begin = datetime.now(UTC)
    work_ends = begin + timedelta(seconds=45)
    policy.write_text(
        yaml.safe_dump(
            {"alerts": {"no_segments": {"after": 6, "cool_down": 0}}, "maintenance": [{"from": begin, "to": work_ends}]}
        )
    )
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_FETCH_PRIVATE": "true"}
    worker = Worker(
        "worker", tmp_path, command=FREE_WORKER, FVQ_ALERT_POLICY=str(policy), FVQ_TEST_SINK="none", FVQ_HARVEST="false",
        FVQ_LIVE_WINDOW="off", **settings,
    )  # fmt: skip
    follower = await asyncio.to_thread(Follower, kafka.broker, ALERTS_TOPIC)

    def alerts() -> list[QualityAlert]:
        return [QualityAlert.from_bytes(value) for value in list(follower.read())]

    def of_the_origin() -> list[QualityAlert]:
        """The alert that says that the playlist is not there, and its end. A machine that stood still may have fired others."""
        told = alerts()
        ids = {alert.alert_id for alert in told if alert.cause is not None and "not there (HTTP 404)" in alert.cause.text}
        return [alert for alert in told if alert.alert_id in ids]

    async with Origin() as origin:
        origin.media = b"a segment"
        news = live(dates=False)
        origin.script("/news.m3u8", news)
        ingester = Worker("ingest", tmp_path, command=[FVQ, "ingest", "hls", f"news={origin.url('/news.m3u8')}"], **settings)
        try:
            worker.start()
            ingester.start()
            fetched = lambda: any(".ts" in request for request in origin.requests)  # noqa: E731 - named for `until`
            await until(f"segments are fetched\n{worker.tail()}{ingester.tail()}", fetched)
            origin.script("/news.m3u8", 404)
            await until("the maintenance is nearly over", lambda: datetime.now(UTC) > work_ends - timedelta(seconds=3))
            told = await asyncio.to_thread(alerts)
            assert told == [] or datetime.now(UTC) >= work_ends
            await until(f"the alert\n{worker.tail()}", lambda: bool(of_the_origin()))
            origin.script("/news.m3u8", news)
            await until(f"its end\n{worker.tail()}{ingester.tail()}", lambda: len(of_the_origin()) == 2)
            firing, resolved = await asyncio.to_thread(of_the_origin)
        finally:
            await asyncio.to_thread(ingester.kill)
            await asyncio.to_thread(worker.kill)
            await asyncio.to_thread(follower.close)
    assert [(alert.kind, alert.state) for alert in (firing, resolved)] == [("no-segments", "firing"), ("no-segments", "resolved")]
    assert firing.cause is not None
    assert firing.cause.where == "source"
    assert firing.cause.text.startswith("the playlist has not answered since ")
    assert "not there (HTTP 404)" in firing.cause.text
