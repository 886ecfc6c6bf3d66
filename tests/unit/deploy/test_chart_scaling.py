"""Scaling and alerts of the chart: on metrics that the workers have, within bounds that Kafka sets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from scorer.remote.metrics import ReplicaMetrics
from streams import metrics, parts
from streams.alerts import policy
from streams.events import SEGMENTS_TOPIC
from streams.ingest import metrics as ingest_metrics
from streams.settings import Settings
from streams.web import metrics as web_metrics
from tests.support.chart import find, render

SCORER = ReplicaMetrics()
"""What a scorer has in its registry."""

FAMILIES = [*REGISTRY.collect(), *web_metrics.REGISTRY.collect(), *ingest_metrics.REGISTRY.collect(), *SCORER._registry.collect()]
SERIES = {f"{family.name}{suffix}" for family in FAMILIES for suffix in ("", "_total", "_bucket", "_count", "_sum")}
LABELS = {
    label
    for value in (*vars(metrics).values(), *vars(web_metrics).values(), *vars(ingest_metrics).values(), *vars(SCORER).values())
    if isinstance(value, MetricWrapperBase)
    for label in value._labelnames
}


def expressions() -> list[str]:
    """All PromQL of the chart."""
    manifests = render("full")
    scaled = [manifest["spec"] for manifest in manifests if manifest["kind"] == "ScaledObject"]
    triggers = [trigger for spec in scaled for trigger in spec["triggers"]]
    rules = find(manifests, "PrometheusRule")["spec"]["groups"][0]["rules"]
    return [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"] + [
        rule["expr"] for rule in rules
    ]


@pytest.fixture(scope="module")
def scaled() -> dict[str, Any]:
    return find(render("full"), "ScaledObject", "-worker")["spec"]


def test_every_metric_is_one_of_the_workers() -> None:
    for expression in expressions():
        names = set(re.findall(r"\bfvq_\w+", expression))
        assert names, expression
        assert names <= SERIES, expression
        labels = set(re.findall(r"(\w+)(?:=|=~|!=)\"", expression)) | set(re.findall(r"by \((\w+)\)", expression))
        assert labels <= LABELS | {"namespace", "pod", "le"}, expression


def test_only_series_of_this_release_count() -> None:
    for expression in expressions():
        selected = re.findall(r"\bfvq_\w+(\{[^}]*\})?", expression)
        component = "worker" if "fvq_scorer_fallback" in expression or "fvq_scorer" not in expression else "scorer"
        component = "wall" if "fvq_web" in expression else component
        pods = [f'pod=~"fvq-fvq-monitor-{component}-.+"']
        if "fvq_ingest" in expression:
            # Not the pods of the other one, whose name begins in the same way.
            pods = [
                'pod=~"fvq-fvq-monitor-ingest-.+",pod!~"fvq-fvq-monitor-ingest-dash-.+"',
                'pod=~"fvq-fvq-monitor-ingest-dash-.+"',
            ]
        named = [any(pod in series for pod in pods) and 'namespace="video"' in series for series in selected]
        assert all(named), expression


def test_kafka_s_lag_is_that_of_the_workers_group(scaled: dict[str, Any]) -> None:
    (trigger,) = [trigger for trigger in scaled["triggers"] if trigger["type"] == "kafka"]
    metadata = trigger["metadata"]
    assert metadata["topic"] == SEGMENTS_TOPIC
    assert metadata["consumerGroup"] == Settings.model_fields["group"].default
    # Kafka's lag counts from the oldest message where nothing is committed, as the workers begin there.
    assert metadata["offsetResetPolicy"] == "earliest"
    assert metadata["allowIdleConsumers"] == "false"
    assert (metadata["tls"], metadata["sasl"]) == ("enable", "scram_sha512")


def test_kafka_s_lag_is_that_of_the_topic_and_group_with_their_prefix() -> None:
    triggers = find(render("full", "--set", "settings.FVQ_TOPIC_PREFIX=staging."), "ScaledObject", "-worker")["spec"]["triggers"]
    (metadata,) = [trigger["metadata"] for trigger in triggers if trigger["type"] == "kafka"]
    settings = Settings(topic_prefix="staging.", broker="none:1")
    assert metadata["topic"] == parts.connection(settings).named(SEGMENTS_TOPIC)
    assert metadata["consumerGroup"] == parts.group(settings).name


def test_kafka_s_user_is_the_workers(scaled: dict[str, Any]) -> None:
    manifests = render("full")
    authentication = find(manifests, "TriggerAuthentication")
    (trigger,) = [trigger for trigger in scaled["triggers"] if trigger["type"] == "kafka"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    parameters = {entry["parameter"]: (entry["name"], entry["key"]) for entry in authentication["spec"]["secretTargetRef"]}
    assert parameters == {"password": ("kafka-user", "password"), "ca": ("kafka-ca", "ca.crt")}
    (username,) = authentication["spec"]["env"]
    container = find(manifests, "Deployment", "-worker")["spec"]["template"]["spec"]["containers"][0]
    assert username["containerName"] == container["name"]
    assert {"name": username["name"], "value": "fvq"} in container["env"]


def test_plain_kafka_needs_no_user() -> None:
    manifests = render("minimal", "--set", "worker.autoscaling.enabled=true")
    assert not [manifest for manifest in manifests if manifest["kind"] == "TriggerAuthentication"]
    (trigger,) = find(manifests, "ScaledObject")["spec"]["triggers"]
    assert trigger["type"] == "kafka"
    assert not {"tls", "sasl"} & set(trigger["metadata"])
    assert "authenticationRef" not in trigger


def test_thresholds_follow_from_one_worker_s_rate() -> None:
    options = {"segmentsPerSecond": "20", "load": "0.5", "lagSeconds": "6"}
    spec = find(
        render(
            "full", *(word for name, value in options.items() for word in ("--set-json", f"worker.autoscaling.{name}={value}"))
        ),
        "ScaledObject",
        "-worker",
    )["spec"]
    triggers = {trigger["name"]: trigger for trigger in spec["triggers"]}
    assert triggers["consumer-lag"]["metadata"]["lagThreshold"] == "120"
    assert float(triggers["load"]["metadata"]["threshold"]) == 10
    assert triggers["load"]["metricType"] == "AverageValue"
    assert (triggers["event-lag"]["metadata"]["threshold"], triggers["event-lag"]["metricType"]) == ("6", "Value")


def test_scaling_is_slow_and_bounded(scaled: dict[str, Any]) -> None:
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 64)
    assert scaled["fallback"]["behavior"] == "currentReplicasIfHigher"
    behaviour = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 60
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert behaviour["scaleDown"]["policies"] == [{"type": "Percent", "value": 25, "periodSeconds": 120}]
    # Lost targets must end in the fallback, not in the value 0, which would remove workers.
    assert all(
        trigger["metadata"]["ignoreNullValues"] == "false" for trigger in scaled["triggers"] if trigger["type"] == "prometheus"
    )


def test_scorers_scale_on_their_own_queue() -> None:
    spec = find(render("full"), "ScaledObject", "-scorer")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 8)
    (trigger,) = spec["triggers"]
    assert "fvq_scorer_queue_clips" in trigger["metadata"]["query"]
    # One batch that is scored and another that waits keep a scorer at work all the time.
    batch = Settings.model_fields["serve_batch"].default
    assert batch < float(trigger["metadata"]["threshold"]) < 2 * batch
    assert "replicas" not in find(render("full"), "Deployment", "-scorer")["spec"]


def test_only_one_decides_the_number_of_workers() -> None:
    assert "replicas" not in find(render("full"), "Deployment", "-worker")["spec"]
    assert find(render("minimal"), "Deployment", "-worker")["spec"]["replicas"] == 2


def test_the_example_s_policy_of_alerts_is_one(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_URL", "https://hooks.example/services/1")
    file = tmp_path / "alerts.yaml"
    file.write_text(find(render("full"), "ConfigMap", "-alerts")["data"]["alerts.yaml"])
    assert {receiver.name for receiver in policy.load_policy(file).receivers} == {"alertmanager", "control-room"}
