"""The rating page on a real Kafka: it shows the queue, and deletes a stream that is deleted on another machine."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from streams.kafka.connection import Connection
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic
from streams.rating.store import RatingStore
from tests.support.media import make_clip
from tests.support.processes import FVQ, clean_environment, fvq
from tests.support.rating import make_example
from tests.support.servers import KafkaServer
from tests.support.waiting import wait_for

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


def test_a_stream_that_is_deleted_elsewhere_leaves_the_page_and_the_export(kafka: KafkaServer, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_CLIP_STORE": str(tmp_path / "store"), "FVQ_DATA_DIR": str(here)}
    assert fvq("topics", "create", **settings).returncode == 0
    store, examples = ClipStore(str(tmp_path / "store")), []
    for number in range(4):
        data = make_clip(tmp_path / f"{number}.ts", 160 + 16 * number, 120, 0.2).read_bytes()
        example = make_example(tmp_path / f"{number}.ts", f"rated/{number % 2}", number)
        examples.append(example.model_copy(update={"clip_uri": store.uri(example.stream_id, data)}))
        store.put(examples[-1], data)
    with QueueTopic(Connection(kafka.broker)) as topic:
        topic.add(examples)
    token = fvq("rate", "add", "ada", **settings).stdout.split()[1]

    log = tmp_path / "page.log"
    with log.open("w") as out:
        command = [FVQ, "rate", "serve", "--port", "0"]
        page = subprocess.Popen(command, stderr=out, stdout=out, env=clean_environment() | settings)
    try:
        wait_for("the page", lambda: bool(ADDRESS.search(log.read_text())), 60)
        address = ADDRESS.findall(log.read_text())[0]

        def ask(path: str, **body: Any) -> dict[str, Any]:
            data = json.dumps(body).encode() if body else None
            headers = {"Cookie": f"fvq_rater={token}", "Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(address + path, data, headers), timeout=60) as answer:
                return json.loads(answer.read())

        for done in range(4):
            shown = ask("/api/next")
            assert (shown["done"], shown["total"]) == (done, 4)
            ask("/api/ratings", presentation=shown["presentation"], value=4, seconds=1, factor=1)
        rated = RatingStore(here)
        assert len(rated.ratings()) == 4
        assert fvq("queue", "rm", "--stream", "rated/1", **settings | {"FVQ_DATA_DIR": str(elsewhere)}).returncode == 0
        wait_for("the page to forget the stream", lambda: len(rated.ratings()) == 2, 60)
        wait_for("the deletion of its playable clips", lambda: len(list((here / "rating").glob("*.mp4"))) == 2, 60)
        assert ask("/api/next")["total"] == 2
    except BaseException:
        print(log.read_text())
        raise
    finally:
        page.terminate()
        page.wait(30)
    assert fvq("rate", "export", str(tmp_path / "rated.csv"), **settings).returncode == 0
    text = (tmp_path / "rated.csv").read_text()
    assert "rated/0" in text
    assert "rated/1" not in text
    for path in here.glob("ratings.sqlite*"):
        assert b"rated/1" not in path.read_bytes()


def test_the_command_says_that_no_broker_answers(tmp_path: Path) -> None:
    done = fvq("rate", "serve", FVQ_BROKER="127.0.0.1:9", FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "no Kafka broker answers at 127.0.0.1:9" in done.stderr
