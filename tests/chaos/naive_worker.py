"""A worker written like Faust's own examples, which loses messages: `python -m tests.chaos.naive_worker`.

The agent runs with concurrency 4, and Faust acknowledges each message when the body of the loop has ended for it.
Environment variables, as for the real worker: FVQ_BROKER, FVQ_GROUP, FVQ_DATA_DIR, FVQ_TEST_STUCK.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import faust

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore

STUCK = os.environ.get("FVQ_TEST_STUCK", "")
raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
app = faust.App(
    os.environ["FVQ_GROUP"],
    broker=f"kafka://{os.environ['FVQ_BROKER']}",
    datadir=os.environ["FVQ_DATA_DIR"],
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=6.0,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=0.5,
    web_enabled=False,
)
scores = app.topic(SCORES_TOPIC, **raw)


@app.agent(app.topic(SEGMENTS_TOPIC, **raw), concurrency=4)
async def score(stream: Any) -> None:
    async for value in stream:
        event = SegmentEvent.from_bytes(value)
        if Path(event.uri).name == STUCK:
            await asyncio.sleep(3600)  # the test kills the worker while it waits here
        answer = SegmentScore(**SegmentScore.identity(event), status="skipped")
        await (await scores.send(key=event.stream_id.encode(), value=answer.to_bytes()))


if __name__ == "__main__":
    Path(os.environ["FVQ_DATA_DIR"]).mkdir(parents=True, exist_ok=True)
    sys.argv = ["naive", "worker"]
    app.main()
