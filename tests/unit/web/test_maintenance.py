"""Maintenance of the alert policy on the wall: a stream's row, answer and frame say until when nothing new of it fires."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from streams.alerts.maintenance import Maintenance
from streams.alerts.policy import parse_policy
from streams.wall import maintenance_watch
from streams.web.labels import LabelFilter
from streams.web.live import Live
from streams.web.reading import read_score
from streams.web.wire import Feed
from tests.support.alerts import BEGIN, make_score
from tests.support.fleet import Fleet
from tests.support.web import get

START = BEGIN.timestamp()


def works_of(*works: tuple[dict[str, str], float, float]) -> list[Maintenance]:
    """Maintenance of streams with these labels between two times, seconds after `START`."""
    begun = [(labels, BEGIN + timedelta(seconds=start), BEGIN + timedelta(seconds=end)) for labels, start, end in works]
    return [Maintenance.model_validate({"labels": labels, "from": start, "to": end}) for labels, start, end in begun]


def fleet_of_two() -> Live:
    live = Live()
    for site in ("west", "east"):
        score = make_score(0, 80, labels={"site": site}).model_copy(update={"stream_id": site})
        live.add_score(read_score(score.to_bytes()), score.to_bytes(), START + 3)
    return live


def until(live: Live, now: float) -> dict[str, float | None]:
    live.tick(START + now)
    ends = {row.stream_id: row.maintenance for row in live.rows(START + now)}
    return {stream_id: None if end is None else end - START for stream_id, end in ends.items()}


def test_only_the_streams_that_are_meant_are_in_maintenance_and_only_while_it_lasts() -> None:
    live = fleet_of_two()
    live.works.use(works_of(({"site": "west"}, 10, 20)))
    assert until(live, 9) == {"west": None, "east": None}
    assert until(live, 10) == {"west": 20, "east": None}
    assert until(live, 19) == {"west": 20, "east": None}
    assert until(live, 20) == {"west": None, "east": None}


def test_of_several_at_once_the_last_end_counts_and_a_changed_policy_counts_at_once() -> None:
    live = fleet_of_two()
    live.works.use(works_of(({"site": "west"}, 0, 20), ({}, 5, 30)))
    assert until(live, 6) == {"west": 30, "east": 30}
    live.works.use(works_of(({"site": "west"}, 0, 20)))
    assert until(live, 7) == {"west": 20, "east": None}
    live.works.use([])
    assert until(live, 8) == {"west": None, "east": None}


def test_browsers_are_told_when_maintenance_begins_and_ends() -> None:
    live = fleet_of_two()
    live.works.use(works_of(({"site": "west"}, 10, 20)))
    feed = Feed(live, LabelFilter())
    until(live, 5)
    assert json.loads(feed.snapshot(START + 5))["streams"]["maintenance"] == [None, None]
    live.changes()
    told = []
    for now in (9, 10, 11, 20):
        live.tick(START + now)
        frames = [json.loads(frame) for frame in feed.frames(live.changes(), START + now)]
        told.append([(row["id"], row["maintenance"]) for frame in frames if frame["type"] == "streams" for row in frame["add"]])
    assert told == [[], [("west", START + 20)], [], [("west", None)]]


async def test_the_api_says_until_when(client: TestClient, seeded: Fleet) -> None:
    end = datetime.fromtimestamp(seeded.played, UTC).replace(microsecond=0) + timedelta(hours=1)
    work = {"labels": {"tier": "premium"}, "from": end - timedelta(hours=2), "to": end}
    seeded.live.works.use(parse_policy({"maintenance": [work]}).maintenance)
    seeded.live.tick(seeded.played)
    items = (await get(client, "/streams?limit=1000"))["items"]
    wanted = end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for item in items:
        assert item["maintenance_until"] == (wanted if item["labels"]["tier"] == "premium" else None)
    one = next(item["stream_id"] for item in items if item["maintenance_until"] is not None and "/" not in item["stream_id"])
    assert (await get(client, f"/streams/{one}"))["maintenance_until"] == wanted
    seeded.live.works.use([])
    seeded.live.tick(seeded.played)


async def test_the_wall_follows_its_policy_and_runs_without_one_that_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy, live = tmp_path / "policy.yaml", Live()
    watch = maintenance_watch(policy, live, asyncio.get_running_loop())
    assert f"{policy} cannot be read" in caplog.text
    policy.write_text("maintenance: [{from: 2026-01-01T00:00:00Z, to: 2199-01-01T00:00:00Z}]")
    watch.look()  # a file that has just changed may be half written
    watch.look()
    await asyncio.sleep(0)
    live.tick(datetime(2198, 1, 1, tzinfo=UTC).timestamp())
    assert live.works.until({}) == datetime(2199, 1, 1, tzinfo=UTC).timestamp()
