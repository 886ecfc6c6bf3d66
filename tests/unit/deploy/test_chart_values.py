"""What can be said to the chart: each value is described, has an effect, and a wrong one is refused with what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from streams.errors import SettingsError
from streams.settings import Settings, load_settings
from streams.topic_names import LONGEST_PREFIX
from tests.support.chart import CHART, KUBERNETES, helm, pods_of, problems_of, refusal, render, values_of

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").rglob("*.*")))
FREE = {"alertPolicy", "resources", "headResources", "rollout", "global"}
"""Values whose inside is not the chart's own."""


TOKEN = [
    "scorer.enabled=true",
    "secrets.FVQ_SCORER_TOKEN_FILE.secret=fvq",
    "secrets.FVQ_SCORER_TOKEN_FILE.key=token",
]
LARGE = [*TOKEN, "scorer.scores=deep", "scorer.settings.FVQ_MODEL=large@1"]
PASSWORD = ["secrets.FVQ_KAFKA_PASSWORD_FILE.secret=kafka", "secrets.FVQ_KAFKA_PASSWORD_FILE.key=password"]
SCORER = "http://gpu:8090"
RAY = [*TOKEN, "scorer.host=ray"]
CASCADE = [*TOKEN, "scorer.scores=deep", "scorer.settings.FVQ_MODEL=/shared/large"]
INGEST = ["ingest.enabled=true", "ingest.sources={http://o.example/a.m3u8}"]
WALL = ["wall.enabled=true", "settings.FVQ_INFLUX_URL=http://influxdb:8086"]


def described(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths of all values that the schema has, with their descriptions."""
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field.get("description") or field.get("allOf", [{}])[0].get("description", "")
        yield from described(field, (*path, name))


def defaults(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all values in values.yaml."""
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict) and name not in FREE and name != "settings":
            yield from defaults(value, (*path, name))


PATHS = dict(described(SCHEMA))


def test_every_value_is_described() -> None:
    assert all(text.endswith(".") for text in PATHS.values()), [path for path, text in PATHS.items() if not text.endswith(".")]


def test_the_schema_and_the_defaults_name_the_same_values() -> None:
    inside = {path for path in PATHS if not FREE & set(path[:-1])} - {("global",)}
    assert set(defaults(VALUES)) == inside


@pytest.mark.parametrize("path", [path for path in PATHS if not FREE & set(path[:-1]) and path != ("global",)], ids=".".join)
def test_every_value_is_used(path: tuple[str, ...]) -> None:
    assert re.search(rf"\.{path[-1]}\b|\"{path[-1]}\"", TEMPLATES), path


def test_no_secret_can_be_a_value() -> None:
    taken = set(SCHEMA["$defs"]["settings"]["properties"])
    secret = {f"FVQ_{name.upper()}" for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert secret
    assert not secret & taken
    assert not any(name.endswith("_FILE") for name in taken)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["settings.FVQ_BATCHSIZE=8"], "FVQ_BATCHSIZE"),
        (["settings.FVQ_BATCH_SIZE=many"], "FVQ_BATCH_SIZE"),
        (["settings.FVQ_BATCH_SIZE=100000"], "maximum"),
        (["settings.FVQ_INFLUX_TOKEN=secret"], "FVQ_INFLUX_TOKEN"),
        (["settings.FVQ_WEB_PORT=80"], "FVQ_WEB_PORT"),
        (["worker.settings.FVQ_DEVICE=tpu"], "FVQ_DEVICE"),
        (["settings.FVQ_LIVE_WINDOW=false"], "FVQ_LIVE_WINDOW"),
        (["settings.FVQ_BROKER=null"], "FVQ_BROKER"),
        (["settings.FVQ_BROKER="], "FVQ_BROKER"),
        (["worker.settings.FVQ_BROKER="], "FVQ_BROKER"),
        (["worker.replica=3"], "replica"),
        (["worker.replicas=three"], "worker/replicas"),
        (["scorer.host=docker"], "scorer/host"),
        (["secrets.FVQ_INFLUX_TOKEN_FILE.secret=influx"], "key"),
        (["secrets.FVQ_TOKEN_FILE.secret=influx", "secrets.FVQ_TOKEN_FILE.key=token"], "FVQ_TOKEN_FILE"),
        (["image.core.digest=latest"], "digest"),
        (["worker.replicas=17"], "topics.partitions 16"),
        (["worker.autoscaling.enabled=true", "worker.autoscaling.maxReplicas=17"], "topics.partitions 16"),
        (["worker.autoscaling.enabled=true", "worker.autoscaling.minReplicas=1"], "minReplicas"),
        (
            ["worker.autoscaling.enabled=true", "worker.autoscaling.minReplicas=9", "worker.autoscaling.maxReplicas=8"],
            "minReplicas is 9",
        ),
        (["scorer.enabled=true", "scorer.autoscaling.enabled=true"], "needs monitoring.serverAddress"),
        ([*RAY, "scorer.ray.tokenSecret=ray", "scorer.autoscaling.enabled=true"], "set scorer.replicas"),
        (RAY, "scorer.ray.tokenSecret is missing"),
        (["scorer.enabled=true"], "kubectl create secret"),
        (["scorer.enabled=true", "settings.FVQ_SCORER_URL=http://a:1"], "leave the address out"),
        (["settings.FVQ_BROKER=kafka:9092\\,other:19092"], "FVQ_BROKER has the port 19092"),
        (["settings.FVQ_INFLUX_URL=https://influx.example"], "FVQ_INFLUX_URL has the port 443"),
        (["worker.settings.FVQ_INFLUX_URL=http://influx:9999"], "worker.settings.FVQ_INFLUX_URL has the port 9999"),
        ([*INGEST, "ingest.settings.FVQ_BROKER=kafka:19092"], "ingest.settings.FVQ_BROKER has the port 19092"),
        (["settings.FVQ_SCORER_URL=http://gpu:9000/"], "FVQ_SCORER_URL has the port 9000"),
        (["settings.FVQ_DEEP_URL=http://gpu:9000/"], "FVQ_DEEP_URL has the port 9000"),
        (["ingest.enabled=true"], "ingest.enabled and no source"),
        ([*INGEST, "ingest.existingSecret=s"], "in one of them"),
        (["ingest.enabled=true", "ingest.sources={rtmp://o.example/a}"], "ingest/sources"),
        (["ingest.dash.enabled=true"], "ingest.dash.enabled and no source"),
        (["ingest.dash.enabled=true", "ingest.dash.sources={a.mpd}"], "ingest/dash/sources"),
        (["wall.enabled=true"], "settings.FVQ_INFLUX_URL is missing"),
        (WALL, "nobody can sign in"),
        (["wall.enabled=true", "wall.settings.FVQ_INFLUX_URL=http://influxdb:8086"], "nobody can sign in"),
        ([*WALL, "wall.settings.FVQ_WEB_USER_HEADER=X-Forwarded-User"], "nobody can sign in"),
        ([*WALL, "wall.settings.FVQ_WEB_URL=https://wall.example"], "put it under settings"),
        (["settings.FVQ_WALL_PORT=80"], "FVQ_WALL_PORT"),
        (["settings.FVQ_TOPIC_PREFIX=my staging."], "FVQ_TOPIC_PREFIX"),
        (["settings.FVQ_TOPIC_PREFIX=staging/"], "pattern"),
        (["settings.FVQ_TOPIC_PREFIX=" + "x" * (LONGEST_PREFIX + 1)], "FVQ_TOPIC_PREFIX"),
        (["wall.replicas=0"], "wall/replicas"),
        ([*TOKEN, "scorer.scores=deep"], "name the large model"),
        ([*TOKEN, "scorer.scores=deep", "settings.FVQ_DEEP_URL=http://a:8090"], "leave the address out"),
        (["settings.FVQ_KAFKA_SECURITY=SASL_SSL"], "FVQ_KAFKA_PASSWORD_FILE is missing"),
        (["worker.settings.FVQ_KAFKA_SECURITY=SASL_SSL"], "FVQ_KAFKA_PASSWORD_FILE is missing"),
        (["sharedVolume.existingClaim=nfs"], "FVQ_REGISTRY"),
        (["settings.FVQ_CLIP_STORE=/shared/clips"], "FVQ_CLIP_STORE is in /shared"),
        (CASCADE, "scorer.settings.FVQ_MODEL is in /shared"),
        (["settings.FVQ_DEEP_MODEL=/shared/large"], "FVQ_DEEP_MODEL is in /shared"),
    ],
)
def test_a_wrong_value_is_refused(options: list[str], words: str) -> None:
    assert words in refusal("minimal", *(word for option in options for word in ("--set", option)))


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["settings.FVQ_SCORER_FALLBACK=nano"], {"FVQ_SCORER_FALLBACK": "nano"}),
        ([*LARGE, "worker.settings.FVQ_SCORER_FALLBACK=nano"], {"FVQ_SCORER_FALLBACK": "nano"}),
        ([*TOKEN, "settings.FVQ_SECOND_MODEL=nano"], {"FVQ_SECOND_MODEL": "nano", "FVQ_SCORER_URL": SCORER}),
        (
            ["worker.settings.FVQ_SECOND_MODEL=nano", f"settings.FVQ_SCORER_URL={SCORER}"],
            {"FVQ_SECOND_MODEL": "nano", "FVQ_SCORER_URL": SCORER},
        ),
        ([*LARGE, "settings.FVQ_DEEP_MODEL=large@1"], {"FVQ_DEEP_MODEL": "large@1", "FVQ_DEEP_URL": SCORER}),
        (
            [f"settings.FVQ_DEEP_URL={SCORER}", "worker.settings.FVQ_DEEP_MODEL=large@1"],
            {"FVQ_DEEP_MODEL": "large@1", "FVQ_DEEP_URL": SCORER},
        ),
        ([*TOKEN, "scorer.settings.FVQ_SERVE_QUEUE=8"], {"FVQ_SERVE_QUEUE": "8"}),
        (
            [*TOKEN, "settings.FVQ_SERVE_QUEUE=31", "scorer.settings.FVQ_SERVE_BATCH=32"],
            {"FVQ_SERVE_QUEUE": "31", "FVQ_SERVE_BATCH": "32"},
        ),
        ([*PASSWORD, "settings.FVQ_KAFKA_SECURITY=SASL_SSL"], {"FVQ_KAFKA_SECURITY": "SASL_SSL"}),
        ([*PASSWORD, "worker.settings.FVQ_KAFKA_SECURITY=SASL_SSL"], {"FVQ_KAFKA_SECURITY": "SASL_SSL"}),
        (["settings.FVQ_INFLUX_URL=http://influxdb:8086"], {"FVQ_INFLUX_URL": "http://influxdb:8086"}),
        (["worker.settings.FVQ_INFLUX_URL=http://influxdb:8086"], {"FVQ_INFLUX_URL": "http://influxdb:8086"}),
    ],
)
def test_what_a_process_would_refuse_is_refused_in_its_words(
    options: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal("minimal", *(word for option in options for word in ("--set", option)))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) in said


def test_each_component_may_have_a_user_of_its_own() -> None:
    """The job that makes the topics has the common one, and a scorer none."""
    own = [*PASSWORD, *TOKEN, "settings.FVQ_KAFKA_SECURITY=SASL_SSL", "worker.settings.FVQ_KAFKA_USER=worker"]
    options = [word for option in own for word in ("--set", option)]
    assert render("minimal", *options, "--set", "topics.create=false")
    assert "kafka_user must be set too" in refusal("minimal", *options, "--set", "topics.create=true")


def test_what_is_missing_may_be_in_a_whole_secret() -> None:
    assert render("minimal", "--set", "settings.FVQ_SCORER_FALLBACK=nano", "--set", "environmentSecrets={all}")
    assert render("minimal", "--set", "settings.FVQ_INFLUX_URL=http://influxdb:8086", "--set", "environmentSecrets={all}")


@pytest.mark.parametrize("example", ["full", "ray"])
def test_every_process_gets_the_whole_secrets(example: str) -> None:
    """The job that makes the topics too: the Kafka user may be in one."""
    pods = pods_of(render(example, "--set", "environmentSecrets={kafka-user}"))
    assert "topics" in pods
    for component, pod in pods.items():
        assert pod["spec"]["containers"][0].get("envFrom") == [{"secretRef": {"name": "kafka-user"}}], component


def test_the_topics_are_made_on_the_workers_nodes() -> None:
    options = ["--set", "worker.nodeSelector.pool=video", "--set", "worker.tolerations[0].key=video"]
    pods = pods_of(render("minimal", *options))
    for pod in (pods["topics"], pods["worker"]):
        assert pod["spec"]["nodeSelector"] == {"pool": "video"}
        assert pod["spec"]["tolerations"] == [{"key": "video"}]


@pytest.mark.parametrize("component", [name for name, values in VALUES.items() if "settings" in (values or ())])
@pytest.mark.parametrize("prefix", ["other.", ""])
def test_one_component_cannot_have_a_prefix_of_its_own(component: str, prefix: str) -> None:
    common = ["--set", "settings.FVQ_TOPIC_PREFIX=staging."]
    said = refusal("minimal", *common, "--set", f"{component}.settings.FVQ_TOPIC_PREFIX={prefix}")
    assert f"{component}.settings.FVQ_TOPIC_PREFIX: put it under settings" in said


def test_the_longest_prefix_is_taken() -> None:
    assert render("minimal", "--set", "settings.FVQ_TOPIC_PREFIX=" + "x" * LONGEST_PREFIX)
    assert render("minimal", "--set", "settings.FVQ_TOPIC_PREFIX=")


@pytest.mark.parametrize(
    "options",
    [
        CASCADE,
        ["worker.settings.FVQ_MEDIA_ROOTS=/media:/shared/media"],
        ["settings.FVQ_SECOND_MODEL=/shared/second"],
        ["worker.settings.FVQ_DEEP_MODEL=/shared/large"],
        ["ingest.dash.enabled=true", "ingest.dash.sources={http://o.example/a}", "ingest.settings.FVQ_REGISTRY=/shared/models"],
    ],
    ids=lambda options: options[-1],
)
def test_any_setting_may_be_in_the_shared_volume(options: list[str]) -> None:
    assert render("minimal", *(word for option in ["sharedVolume.existingClaim=nfs", *options] for word in ("--set", option)))


def test_what_a_component_that_does_not_run_would_read_need_not_be_there() -> None:
    assert render("minimal", "--set", "scorer.enabled=false", "--set", "scorer.settings.FVQ_MODEL=/shared/large")


def test_a_bucket_may_be_called_as_the_shared_folder() -> None:
    assert render("minimal", "--set", "settings.FVQ_CLIP_STORE=s3://shared/clips")


@pytest.mark.parametrize("name", ["2026", "1e3", "news.eu"])
def test_a_release_may_have_any_name_that_helm_takes(name: str) -> None:
    """Labels and names stay texts where they look like numbers, and a Service's name has no dot."""
    rendered = helm(
        "template", name, CHART, "--kube-version", KUBERNETES, *values_of("full"), "--set-string", "nameOverride=2027"
    )
    assert rendered.returncode == 0, rendered.stderr
    manifests = [manifest for manifest in yaml.safe_load_all(rendered.stdout) if manifest]
    assert not [problem for manifest in manifests for problem in problems_of(manifest)]
    assert {manifest["metadata"]["labels"]["app.kubernetes.io/instance"] for manifest in manifests} == {name}
    assert not [manifest["metadata"]["name"] for manifest in manifests if "." in manifest["metadata"]["name"]]
    services = [manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Service"]
    assert services
    assert all(re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", service) for service in services), services


def test_names_that_look_like_numbers_stay_names() -> None:
    """As the API server would, the schemas refuse a number where a name belongs."""
    names = [
        "serviceAccount.name", "image.pullSecrets[0]", "environmentSecrets[0]", "sharedVolume.existingClaim",
        "secrets.FVQ_INFLUX_TOKEN_FILE.secret", "worker.priorityClassName", "worker.data.storageClass", "fullnameOverride",
        "rate.data.storageClass", "ingest.dash.existingSecret", "monitoring.podMonitor.labels.release",
    ]  # fmt: skip
    manifests = render("full", *(word for name in names for word in ("--set-string", f"{name}=2026")))
    assert not [problem for manifest in manifests for problem in problems_of(manifest)]
    assert render("ray", "--set-string", "scorer.ray.tokenSecret=2026")
