"""A packager of twenty lines: ffmpeg cuts a camera or a file into segments, and each is announced when it is complete.

    python examples/packager.py camera.mp4 /media/studio-7 studio-7 127.0.0.1:9092

The worker's FVQ_MEDIA_ROOTS must include the folder. Where the workers have an FVQ_TOPIC_PREFIX, it comes last: `staging.`
A real packager gives no segment a name that an earlier run has used.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe
from kafka import KafkaProducer


def package(source: str, folder: Path, stream: str, broker: str, prefix: str = "") -> None:
    """Cut a source at key frames into segments of at least 2 s, and announce each on `video-segments`, after the prefix."""
    producer, began = KafkaProducer(bootstrap_servers=broker, acks="all"), datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    cut = ["-f", "segment", "-segment_time", "2", "-segment_list", "pipe:1", "-segment_list_type", "csv", f"{folder}/%d.ts"]
    command = [get_ffmpeg_exe(), "-loglevel", "error", "-re", "-i", source, "-map", "0:v:0", "-map", "0:a?", "-c", "copy", *cut]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ffmpeg:
        for sequence, line in enumerate(ffmpeg.stdout or ()):  # ffmpeg writes a line, NAME,BEGIN,END, for each complete segment
            name, begin, end = line.strip().split(",")
            event = {
                "stream_id": stream,
                "segment_id": f"{stream}/{began:%Y%m%dT%H%M%S}/{sequence}",
                "sequence": sequence,
                "uri": (folder / name).resolve().as_uri(),
                "start": (began + timedelta(seconds=float(begin))).isoformat(),
                "duration": float(end) - float(begin),
            }
            producer.send(f"{prefix}video-segments", key=stream.encode(), value=json.dumps(event).encode()).get(timeout=30)
    producer.close()
    if ffmpeg.returncode:
        sys.exit(f"ffmpeg ended with {ffmpeg.returncode}")  # why, it has said on standard error


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    package(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:6])
