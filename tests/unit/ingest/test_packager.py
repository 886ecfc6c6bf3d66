"""The example of a packager writes events that the worker takes."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import pytest

from streams.events import SEGMENTS_TOPIC, SegmentEvent
from tests.support.media import ffmpeg, make_clip
from tests.support.processes import PYTHON, ROOT


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packager", ROOT / "examples/packager.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MemoryProducer:
    """Keeps what is sent."""

    def __init__(self, **_: Any) -> None:
        self.messages: list[tuple[str, bytes, bytes]] = []

    def send(self, topic: str, key: bytes, value: bytes) -> MemoryProducer:
        self.messages.append((topic, key, value))
        return self

    def get(self, timeout: float) -> None:
        assert timeout > 0

    def close(self) -> None:
        pass


def test_each_segment_is_announced_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packager, producer = load_example(), MemoryProducer()
    monkeypatch.setattr(packager, "KafkaProducer", lambda **_: producer)
    picture, source = make_clip(tmp_path / "picture.mp4", 160, 120, 1.0), tmp_path / "camera.mp4"
    ffmpeg("-i", picture, "-f", "lavfi", "-i", "sine=duration=1", "-c:v", "copy", source)
    packager.package(str(source), tmp_path / "media", "studio 7", "kafka.example:9092", "staging.")
    events = [SegmentEvent.from_bytes(value) for _, _, value in producer.messages]
    assert [(topic, key) for topic, key, _ in producer.messages] == [(f"staging.{SEGMENTS_TOPIC}", b"studio 7")] * len(events)
    assert events
    assert sum(event.duration for event in events) == pytest.approx(1.0, abs=0.1)
    for event in events:
        with av.open(event.uri) as segment:
            assert {stream.type for stream in segment.streams} == {"video", "audio"}


def test_a_source_that_cannot_be_cut_is_told_by_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packager, broken = load_example(), tmp_path / "broken.mp4"
    monkeypatch.setattr(packager, "KafkaProducer", MemoryProducer)
    broken.write_bytes(b"no video")
    with pytest.raises(SystemExit) as ended:
        packager.package(str(broken), tmp_path / "media", "studio 7", "kafka.example:9092")
    assert ended.value.code


@pytest.mark.parametrize("arguments", [[], ["--help"], ["camera.mp4", "media", "studio-7"]])
def test_without_its_arguments_it_says_how_it_is_run(arguments: list[str]) -> None:
    ran = subprocess.run([PYTHON, ROOT / "examples/packager.py", *arguments], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "python examples/packager.py camera.mp4" in ran.stderr
    assert "Traceback" not in ran.stderr
