"""A Faust agent that forwards bytes and does nothing else: the cost of Faust alone (`make bench-stream`).

    python -m tests.bench.bare_faust

As in the worker, it takes batches without acknowledging them, sends the answers, and acknowledges the inputs after the
answers are acknowledged. Environment variables: FVQ_BROKER, FVQ_DATA_DIR, FVQ_BATCH_SIZE.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import faust

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC

BATCH = int(os.environ["FVQ_BATCH_SIZE"])
raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
app = faust.App(
    "bare-faust",
    broker=f"kafka://{os.environ['FVQ_BROKER']}",
    datadir=os.environ["FVQ_DATA_DIR"],
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=1.0,
    producer_linger_ms=5,
    stream_buffer_maxsize=BATCH,
    web_enabled=False,
)
scores = app.topic(SCORES_TOPIC, **raw)


@app.agent(app.topic(SEGMENTS_TOPIC, **raw), concurrency=1)
async def pass_on(stream: Any) -> None:
    async for events in stream.noack_take(BATCH, within=0.25):
        await asyncio.gather(*[await scores.send(key=event.key, value=event.value) for event in events])
        for event in events:
            await stream.ack(event)


if __name__ == "__main__":
    Path(os.environ["FVQ_DATA_DIR"]).mkdir(parents=True, exist_ok=True)
    sys.argv = ["bare-faust", "worker"]
    app.main()
