"""Writes one of everything that outlives a process, and reads it again: `python stores.py write|read FOLDER`.

It runs with the code of this version and with that of the version before, so it uses only what both have. What it reads is
printed as JSON, to be compared. `python -m tests.old_version.make` stores what the version before writes.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from scorer.registry import Registry
from scorer.spec import level_of
from streams.alerts.detector import step
from streams.alerts.policy import AlertPolicy, load_policy
from streams.alerts.state import StreamState, from_json, to_json
from streams.events import EVENTS, Event, SegmentScore, TrainingExample
from streams.history.sqlite import SqliteHistory
from streams.rating.store import RatingStore
from streams.sinks.sqlite import SqliteSink
from training.data.labels import read_labels
from training.data.scenes.make import COLUMNS

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TIME = "2026-03-01T12:00:00Z"
MODEL = {"name": "nano", "version": "f941046aa0bf"}
CLIP = hashlib.sha256(b"a clip").hexdigest()
SIGNALS = {"black": 0.0, "freeze": 0.1, "blur": 0.2, "blockiness": 0.05, "noise": 0.8, "luma": 112.0, "contrast": 51.0}

SEGMENT: dict[str, Any] = {
    "stream_id": "studio-7", "segment_id": "studio-7/720p/0", "sequence": 0, "uri": "https://origin.example/0.ts", "start": TIME,
    "duration": 2.0, "rendition": "720p", "labels": {"tier": "premium"},
}  # fmt: skip
WHOLE_SEGMENT = SEGMENT | {
    "init_uri": "https://origin.example/init.mp4", "byte_range": "1000@2000", "init_byte_range": "700@0", "ended": True,
    "key": {"method": "AES-128", "uri": "https://origin.example/key", "iv": "00" * 16},
}  # fmt: skip
SCORE = SEGMENT | {
    "status": "scored", "score": 71.2, "level": "good", "level_probs": {"good": 0.8, "fair": 0.2}, "uncertainty": 8.1,
    "faces": {"count": 1, "area": 0.12}, "signals": SIGNALS, "model": MODEL, "tier": "full", "tier_reason": "changed",
    "fingerprint": "c3d2a19f00ff5e71", "timing": {"lag_s": 3.4},
    "bitstream": {"codec": "h264", "width": 1280, "height": 720, "fps": 25.0, "bitrate": 2.5e6, "qp_mean": 27.5},
}  # fmt: skip
ALERT = {
    "alert_id": "5d41402abc4b2a76", "stream_id": "studio-7", "rendition": "720p", "kind": "quality-drop", "state": "firing",
    "started_at": TIME, "value": 31.5, "baseline": 70.0, "segment_id": "studio-7/720p/7", "labels": {"tier": "premium"},
    "severity": "warning", "threshold": 62.5, "summary": "studio-7 (720p): quality fell", "url": "https://wall.example/alerts/5d",
    "cause": {
        "where": "rendition", "rendition": "720p", "signals": [{"name": "blur", "value": 0.4, "usual": 0.2}], "text": "blur",
    },
}  # fmt: skip
EXAMPLE = {
    "example_id": CLIP, "clip_uri": "s3://clips/1.ts", "size": 512_000, "reason": "operator", "score": 48.3, "uncertainty": 17.9,
    "model": MODEL, "fingerprint": "c3d2a19f00ff5e71", "stream_id": "studio-7", "segment_id": "studio-7/720p/7", "sequence": 7,
    "start": TIME, "duration": 2.0, "rendition": "720p", "labels": {"tier": "premium"}, "queued_at": TIME,
    "operator": {"level": 2, "by": "kim", "at": TIME},
}  # fmt: skip

STORED: dict[str, list[dict[str, Any]]] = {
    "SegmentEvent": [SEGMENT, WHOLE_SEGMENT],
    "SegmentScore": [
        SCORE,
        SCORE | {"tier": "glance", "rests_on": "studio-7/720p/0", "segment_id": "studio-7/720p/1", "sequence": 1},
        SCORE | {"tier": "deep", "tier_reason": "uncertain", "shallow": {"score": 60.0, "model": MODEL, "uncertainty": 16.0}},
        SCORE | {"fallback": True, "second": {"score": 69.0, "model": MODEL}},
        SEGMENT | {"status": "skipped", "reason": "live window"},
    ],
    "QualityAlert": [
        ALERT,
        ALERT | {"state": "resolved", "ended_at": "2026-03-01T12:01:00Z"},
        *(ALERT | {"kind": kind} for kind in ("low-quality", "black", "frozen", "no-segments", "no-face")),
    ],
    "AlertAcknowledgement": [
        {"alert_id": "5d41402abc4b2a76", "by": "kim", "note": "encoder", "until": TIME, "at": TIME, "stream_id": "studio-7"}
    ],
    "TrainingExample": [
        EXAMPLE,
        *(EXAMPLE | {"reason": reason, "operator": None} for reason in ("alert", "low-score", "uncertain", "disagreement")),
    ],
    "StreamDeletion": [{"stream_id": "studio-7", "deleted_at": TIME}],
    "ModelUpdate": [{"name": "nano", "version": "4", "before": "3", "time": TIME}, {"name": "nano", "time": TIME}],
}
"""What the events of this product can be, by name."""

POLICY = {
    "alerts": {
        "smoothing": 1.0,
        "low_quality": {"threshold": 45, "hysteresis": 5, "minimum": 12, "clear": 7, "cool_down": 30, "severity": "critical"},
        "quality_drop": {
            "slack": 6,
            "limit": 10,
            "noise_slack": 1,
            "noise_limit": 3,
            "noise": 900,
            "baseline": 300,
            "adapt": 900,
        },
        "black": {"threshold": 0.9, "severity": "warning"},
        "frozen": {"enabled": False},
        "no_segments": {"after": 30, "cool_down": 90, "forget_after": 7200, "severity": "warning"},
        "no_face": {"minimum": 60, "judge_quality": True},
    },
    "overrides": [{"labels": {"tier": "premium"}, "alerts": {"low_quality": {"threshold": 55}}}],
    "receivers": [
        {
            "name": "pager",
            "type": "json",
            "url_env": "PAGER_URL",
            "signing_file": "/run/pager",
            "severity": "info",
            "repeat": 600,
        },
        {"name": "am", "type": "alertmanager", "url": "http://127.0.0.1:9093", "silence": True},
        {"name": "chat", "type": "slack", "url_file": "/run/chat", "kinds": ["black"], "labels": {"tier": "premium"}},
    ],
}


def scores_of(more: Mapping[str, Any]) -> list[SegmentScore]:
    """The scores of a stream that is good, and then bad. more: fields that all have."""
    values = [85.0 + i % 3 for i in range(12)] + [20.0 + i % 3 for i in range(6)]
    return [
        SegmentScore.model_validate(
            SCORE | more | {
                "segment_id": f"studio-7/720p/{i}", "sequence": i, "score": value, "level": level_of(value),
                "start": BEGIN + timedelta(seconds=2 * i),
            }
        )
        for i, value in enumerate(values)
    ]  # fmt: skip


def write(folder: Path, more: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write one of everything. more: fields of an event that only this version has, by the event's name."""
    more = more or {}
    folder.mkdir(parents=True, exist_ok=True)
    for kind in EVENTS:
        events = [kind.model_validate(fields | more.get(kind.__name__, {})) for fields in STORED[kind.__name__]]
        (folder / f"{kind.__name__}.jsonl").write_bytes(b"".join(event.to_bytes() + b"\n" for event in events))
    scores = scores_of(more.get("SegmentScore", {}))
    states, state = [], StreamState("studio-7")
    for score in scores:
        state, _ = step(state, score, AlertPolicy().of({}), score.start + timedelta(seconds=3))
        states.append(to_json(state) + b"\n")
    (folder / "alert-state.jsonl").write_bytes(states[11] + states[-1])
    asyncio.run(_write_scores(folder, scores))
    _write_registry(folder / "registry")
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        values = {
            "content": "a",
            "person": "ada",
            "mos": 71.5,
            "relative": 80.0,
            "source_grade": 89.0,
            "measure": "vmaf",
            "vmaf": 78,
        }
        writer.writerow(values | {"path": "a.reference.mkv", "kind": "reference", "step": 0})
        writer.writerow(values | {"path": "a.blur-3.mkv", "kind": "blur", "step": 3, "mos": 40.25})
    (folder / "labels-of-first-form.csv").write_text("path,content,kind,step,mos\na.blur-3.mkv,a,blur,3,40.25\n")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    store = RatingStore(folder)
    ada = store.sign_in(store.add_rater("ada"))
    store.sync([TrainingExample.model_validate(EXAMPLE)])
    assert ada is not None
    shown = store.current(ada)
    assert shown is not None
    store.rate(ada, shown.id, 70, "acr", 2.5, 1.0)


async def _write_scores(folder: Path, scores: list[SegmentScore]) -> None:
    sink = SqliteSink(folder)
    for score in scores:
        sink.add(score)
    await sink.flush()
    await sink.close()


def _write_registry(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch)
        (model / "config.json").write_text("{}")
        for version, weights in (("1", "first"), ("2", "second")):
            (model / "model.safetensors").write_text(weights)
            registry = Registry(str(folder), model)
            registry.publish("ours", version, model, {"recipe": "nano"})
            registry.promote("ours", version)


def read(folder: Path) -> dict[str, Any]:
    """What is in a folder that `write` filled, as plain values. Raises the store's own error for what cannot be read."""
    found: dict[str, Any] = {kind.__name__: _events(folder, kind) for kind in EVENTS}
    found["alert-state"] = [json.loads(to_json(from_json(line))) for line in _lines(folder / "alert-state.jsonl")]
    with tempfile.TemporaryDirectory() as scratch:
        # Readers of SQLite write beside the file.
        for name in ("scores.sqlite", "ratings.sqlite"):
            shutil.copy(folder / name, scratch)
        history = SqliteHistory(Path(scratch) / "scores.sqlite")
        stored = asyncio.run(history.segments("studio-7", "720p", BEGIN, BEGIN + timedelta(hours=1), 100))
        found["scores.sqlite"] = [score.model_dump(mode="json", exclude_none=True) for score in stored]
        found["ratings.sqlite"] = [asdict(rating) for rating in RatingStore(Path(scratch)).ratings()]
        registry = Registry(str(folder / "registry"), Path(scratch))
        versions = [asdict(version) for version in registry.versions("ours")]
        weights = (registry.fetch("ours", "2") / "model.safetensors").read_text()
        found["registry"] = {"current": registry.current("ours"), "versions": versions, "weights": weights}
    for name in ("labels", "labels-of-first-form"):
        rows = read_labels(folder / f"{name}.csv")
        found[f"{name}.csv"] = [row | {"path": row["path"].name} for row in rows]
    policy = load_policy(folder / "policy.yaml")
    found["policy.yaml"] = policy.model_dump(mode="json") | {"premium": policy.of({"tier": "premium"}).model_dump(mode="json")}
    result: dict[str, Any] = json.loads(json.dumps(found))
    return result


def _events(folder: Path, kind: type[Event]) -> list[dict[str, Any]]:
    lines = _lines(folder / f"{kind.__name__}.jsonl")
    return [kind.from_bytes(line).model_dump(mode="json", exclude_none=True) for line in lines]


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Where a value that one version has read is not the same for the other one.

    before: of the version that knows fewer fields: a field more in `now` is no difference, an element of a list more is one.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        return [place for key in before for place in differences(before[key], now.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [place for i in range(len(before)) for place in differences(before[i], now[i], f"{path}[{i}]")]
    return [] if before == now else [f"{path}: {before!r} is {now!r} now"]


if __name__ == "__main__":
    action, target = sys.argv[1], Path(sys.argv[2])
    if action == "write":
        write(target)
    else:
        print(json.dumps(read(target)))
