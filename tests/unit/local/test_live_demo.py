"""What `make demo-live` counts as seen. The whole demo: tests/e2e/test_live_demo.py."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.processes import ROOT

BEGAN = 1_000_000_000.0


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("live_demo")


def alert(kind: str, state: str = "firing", started: float = BEGAN) -> dict[str, Any]:
    return {"alert": {"kind": kind, "state": state, "started_at": datetime.fromtimestamp(started, UTC).isoformat()}}


def source(state: str) -> dict[str, Any]:
    return {"source": {"state": state, "reason": ""}}


@pytest.mark.parametrize(
    ("what", "line", "seen"),
    [
        ("bad", alert("quality-drop"), "alert quality-drop"),
        ("bad", alert("low-quality"), "alert low-quality"),
        ("bad", alert("black"), ""),
        ("bad", alert("quality-drop", "resolved"), ""),
        ("bad", alert("quality-drop", started=BEGAN - 30), ""),
        ("bad", source("failing"), ""),
        ("bad", {"score": 3.0}, ""),
        ("black", alert("black"), "alert black"),
        ("away", source("failing"), "source failing"),
        ("away", source("live"), ""),
        ("away", alert("no-segments"), "alert no-segments"),
    ],
)
def test_what_tells_of_a_break(demo: Any, what: str, line: dict[str, Any], seen: str) -> None:
    broken = demo.Break(what, BEGAN)
    assert not broken.take(line, BEGAN - 1), "before it began"
    assert broken.take(line, BEGAN + 5) == bool(seen)
    assert (broken.seen, broken.after) == ((seen, 5.0) if seen else ("", None))
    assert not broken.take(line, BEGAN + 9), "only the first line counts"


def test_the_programme_has_the_three_breaks_between_good_stretches(demo: Any) -> None:
    kinds = [stretch.what for stretch in demo.stretches()]
    assert kinds == ["good", "bad", "good", "black", "good", "away", "good"]
    ends = [stretch.end for stretch in demo.stretches()]
    assert [stretch.begin for stretch in demo.stretches()] == [0.0, *ends[:-1]]
