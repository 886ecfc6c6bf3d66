"""The chart's alerts and scaling queries in Prometheus' own evaluation: what fires when, and what KEDA reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import find, render
from tests.support.deploy import checker

WORKER = 'namespace="video",pod="fvq-fvq-monitor-worker-1"'
SCORER = 'namespace="video",pod="fvq-fvq-monitor-scorer-1"'
OTHER_SCORER = SCORER.replace("-1", "-2")
WALL = 'namespace="video",pod="fvq-fvq-monitor-wall-1"'
INGEST = 'namespace="video",pod="fvq-fvq-monitor-ingest-6d5f7c9b8-x2x4q"'
DASH = INGEST.replace("-ingest-", "-ingest-dash-")
OTHER_RELEASE = 'namespace="audio",pod="fvq-fvq-monitor-worker-1"'

QUIET = {
    f'fvq_segments_total{{{WORKER},status="scored"}}': "0+120x240",
    f'fvq_event_lag_seconds_bucket{{{WORKER},le="10"}}': "0+120x240",
    f'fvq_event_lag_seconds_bucket{{{WORKER},le="+Inf"}}': "0+120x240",
    f"fvq_event_lag_seconds_count{{{WORKER}}}": "0+120x240",
    f"fvq_segments_in_flight{{{WORKER}}}": "8x240",
    f"fvq_scorer_fallback{{{WORKER}}}": "0x240",
    f'fvq_consumer_lag_messages{{{WORKER},partition="0"}}': "3x240",
    f'fvq_dead_letter_flood{{{WORKER},kind="event"}}': "0x240",
    f"fvq_web_ready{{{WALL}}}": "1x240",
    f"fvq_ingest_publish_retries_total{{{INGEST}}}": "0x240",
    f"fvq_ingest_publish_retries_total{{{DASH}}}": "0x240",
    f'fvq_ingest_sources{{{INGEST},state="failing"}}': "0x240",
    f"fvq_scorer_ready{{{SCORER}}}": "1x240",
    f"fvq_scorer_ready{{{OTHER_SCORER}}}": "1x240",
    f"fvq_scorer_queue_clips{{{SCORER}}}": "16x240",
    f"fvq_scorer_queue_clips{{{OTHER_SCORER}}}": "32x240",
    f"fvq_scorer_queue_limit_clips{{{SCORER}}}": "256x240",
    f"fvq_scorer_queue_limit_clips{{{OTHER_SCORER}}}": "256x240",
    f'fvq_scorer_model{{{SCORER},name="nano",version="1"}}': "1x240",
    f'fvq_scorer_model{{{OTHER_SCORER},name="nano",version="1"}}': "1x240",
}
"""An hour in which 8 segments a second are answered, scraped every 15 s."""

TROUBLE: dict[str, dict[str, str]] = {
    "FvqNoWorkers": {f"fvq_segments_in_flight{{{WORKER}}}": "8x40 _x200"},
    "FvqNothingAnswered": {f'fvq_segments_total{{{WORKER},status="scored"}}': "7x240"},
    "FvqBehindLive": {
        f'fvq_event_lag_seconds_bucket{{{WORKER},le="10"}}': "0x240",
        f'fvq_event_lag_seconds_bucket{{{WORKER},le="60"}}': "0+120x240",
    },
    "FvqSegmentsSkipped": {f'fvq_segments_total{{{WORKER},status="skipped"}}': "0+10x240"},
    "FvqDeadLetterFlood": {f'fvq_dead_letter_flood{{{WORKER},kind="event"}}': "1x240"},
    "FvqDeadLetters": {f'fvq_dead_letters_total{{{WORKER},kind="event"}}': "0+20x240"},
    "FvqSinkRejects": {f"fvq_sink_rejected_total{{{WORKER}}}": "0+1x240"},
    "FvqAgentRestarts": {f'fvq_agent_restarts_total{{{WORKER},agent="alerts"}}': "0+1x240"},
    "FvqAlertsNotDelivered": {f'fvq_alert_deliveries_total{{{WORKER},receiver="slack",outcome="refused"}}': "0+1x240"},
    "FvqModelRefused": {f'fvq_model_updates_total{{{WORKER},result="refused"}}': "0+1x240"},
    "FvqScorerNotReady": {f"fvq_scorer_ready{{{SCORER}}}": "0x240"},
    "FvqNoScorers": {f"fvq_scorer_ready{{{SCORER}}}": "0x240", f"fvq_scorer_ready{{{OTHER_SCORER}}}": "0x240"},
    "FvqScorerFallback": {f"fvq_scorer_fallback{{{WORKER}}}": "1x240"},
    "FvqScorersFull": {f"fvq_scorer_queue_clips{{{SCORER}}}": "250x240", f"fvq_scorer_queue_clips{{{OTHER_SCORER}}}": "250x240"},
    "FvqNoIngester": {f"fvq_ingest_publish_retries_total{{{INGEST}}}": "0x40 _x200"},
    "FvqSourcesFail": {f'fvq_ingest_sources{{{INGEST},state="failing"}}': "2x240"},
    "FvqAnnouncementsFail": {f"fvq_ingest_publish_retries_total{{{DASH}}}": "0+1x240"},
    "FvqNoWalls": {f"fvq_web_ready{{{WALL}}}": "1x40 _x200"},
    "FvqWallBlind": {f"fvq_web_ready{{{WALL}}}": "0x240"},
    "FvqScorersDiffer": {
        f'fvq_scorer_model{{{OTHER_SCORER},name="nano",version="1"}}': "_x240",
        f'fvq_scorer_model{{{OTHER_SCORER},name="nano",version="2"}}': "1x240",
    },
}
"""What is different from a quiet hour for each alert to fire."""


@pytest.fixture(scope="module")
def groups() -> list[dict[str, Any]]:
    return find(render("full"), "PrometheusRule")["spec"]["groups"]


@pytest.fixture(scope="module")
def queries() -> dict[str, str]:
    scaled = [manifest["spec"] for manifest in render("full") if manifest["kind"] == "ScaledObject"]
    triggers = [trigger for spec in scaled for trigger in spec["triggers"]]
    return {trigger["name"]: trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"}


def evaluate(folder: Path, groups: list[dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    """Let promtool evaluate rules and expressions over series; a failed test where it does not find what is expected."""
    folder.joinpath("rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([checker("promtool"), "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def hour(series: dict[str, str], expression: str, value: float | None) -> dict[str, Any]:
    """A test: an expression has a value after 50 minutes of these series, or is empty."""
    expected = [] if value is None else [{"labels": "{}", "value": value}]
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": "50m", "exp_samples": expected}],
    }


def firing(alert: str) -> str:
    return f'clamp_max(count(ALERTS{{alertname="{alert}",alertstate="firing"}}), 1)'


def test_a_quiet_hour_raises_nothing(tmp_path: Path, groups: list[dict[str, Any]]) -> None:
    evaluate(tmp_path, groups, [hour(QUIET, "count(ALERTS)", None)])


def test_each_alert_fires_where_it_must(tmp_path: Path, groups: list[dict[str, Any]]) -> None:
    assert {rule["alert"] for group in groups for rule in group["rules"]} == set(TROUBLE)
    evaluate(tmp_path, groups, [hour(QUIET | series, firing(alert), 1) for alert, series in TROUBLE.items()])


def test_a_fallback_is_told_where_the_scorer_is_not_the_chart_s() -> None:
    (group,) = find(render("minimal", "--set", "monitoring.rules.enabled=true"), "PrometheusRule")["spec"]["groups"]
    assert "FvqScorerFallback" in {rule["alert"] for rule in group["rules"]}


def test_what_scales(tmp_path: Path, queries: dict[str, str]) -> None:
    others = {name.replace(WORKER, OTHER_RELEASE): values for name, values in QUIET.items()}
    idle = {name: "7x240" if "_total" in name or "seconds" in name else values for name, values in QUIET.items()}
    lost = {name: f"{values.removesuffix('x240')}x40 _x200" for name, values in QUIET.items()}
    expected = {
        "load": (8, 0),  # segments a second
        "event-lag": (9, 0),  # seconds: nine tenths of the bucket up to 10 s
        "queue": (48, 48),  # clips in both scorers
    }
    assert set(queries) == set(expected)
    for name, (at_work, at_rest) in expected.items():
        evaluate(
            tmp_path,
            [],
            [
                hour(QUIET | others, queries[name], at_work),
                hour(idle, queries[name], at_rest),
                # Empty, so that KEDA takes its fallback.
                hour(lost, queries[name], None),
            ],
        )
