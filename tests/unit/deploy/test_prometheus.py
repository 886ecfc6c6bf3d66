"""The configuration of Prometheus and Alertmanager: their own checkers accept it, and metrics and labels are the product's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.metrics import EVENT_LAG
from tests.support.deploy import checker, problems_of_promql
from tests.support.processes import ROOT

PROMETHEUS, ALERTMANAGER = ROOT / "deploy/prometheus", ROOT / "deploy/alertmanager/alertmanager.yaml"
ALL = [
    rule for group in yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]  # fmt: skip
RULES, RECORDS = [rule for rule in ALL if "alert" in rule], [rule for rule in ALL if "record" in rule]

OBJECTIVE_SECONDS = 10
BUCKETS = {float(sample.labels["le"]) for family in EVENT_LAG.collect() for sample in family.samples if "le" in sample.labels}


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_what_there_is(rule: dict[str, Any]) -> None:
    assert problems_of_promql(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("rule", RECORDS, ids=lambda rule: rule["record"])
def test_a_recorded_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert problems_of_promql(rule["expr"]) == []
    # Prometheus asks for a bucket by its text: `le="10"` would find nothing.
    assert f'_bucket{{le="{float(OBJECTIVE_SECONDS)}"}}' in rule["expr"]
    assert OBJECTIVE_SECONDS in BUCKETS


def test_a_wrong_name_is_found() -> None:
    assert problems_of_promql("rate(fvq_segment_total[5m])") == ["there is no metric fvq_segment_total"]
    assert problems_of_promql("rate(fvq_segments[5m])") == ["there is no metric fvq_segments"]
    assert problems_of_promql('fvq_segments_total{state="scored"}') == ["fvq_segments_total has no label state"]
    of_both = 'rate(fvq_segments_total{state="late"}[5m]) / rate(fvq_segments_total{status="scored"}[5m])'
    assert problems_of_promql(of_both) == ["fvq_segments_total has no label state"]
    assert problems_of_promql("sum by (kinds) (fvq_alerts_open)") == ["no metric of it has the label kinds"]
    assert problems_of_promql("sum by (le, stage) (fvq_stage_seconds_bucket)") == []
    assert problems_of_promql("fvq:late:share_rate7m / 0.01") == ["there is no recorded fvq:late:share_rate7m"]


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    checked = run(checker("promtool"), "check", "config", PROMETHEUS / "prometheus.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(ALL)} rules found" in checked.stdout


def test_each_alert_fires_where_it_must() -> None:
    cases = Path(__file__).parent / "rules.test.yaml"
    tested = run(checker("promtool"), "test", "rules", cases)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    fired = set(re.findall(r'alertname="(\w+)"', cases.read_text()))
    assert fired == {rule["alert"] for rule in RULES}


def test_amtool_accepts_the_configuration() -> None:
    checked = run(checker("amtool"), "check-config", ALERTMANAGER)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=black", "service=fvq", "stream_id=studio-7", "severity=critical"), "page"),
        (("alertname=low-quality", "service=fvq", "stream_id=studio-7", "severity=warning"), "page"),
        (("alertname=no-face", "service=fvq", "stream_id=studio-7", "severity=info"), "ticket"),
        (("alertname=black", "service=fvq", "stream_id=studio-7"), "page"),
        (("alertname=FvqWorkerDown", "severity=critical"), "page"),
        (("alertname=FvqAnswersLate", "severity=critical"), "page"),
        (("alertname=FvqAnswersLateForHours", "severity=warning"), "ticket"),
        (("alertname=FvqDeadLetters", "severity=warning"), "ticket"),
        (("alertname=SomethingElse",), "page"),
    ],
)
def test_every_kind_of_alert_has_a_receiver(labels: tuple[str, ...], receiver: str) -> None:
    routed = run(
        checker("amtool"), "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels
    )
    assert routed.returncode == 0, routed.stdout + routed.stderr


def test_the_inhibited_alerts_exist() -> None:
    named = set(re.findall(r"\bFvq\w+", ALERTMANAGER.read_text()))
    assert named == named & {rule["alert"] for rule in RULES}
