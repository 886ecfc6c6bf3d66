"""The chart as Helm renders it: strictly valid objects, that agree with each other and with the product."""

from __future__ import annotations

import copy
import inspect
import re
import subprocess
import tomllib
from typing import Any

import pytest
import typer.main
import yaml

from scorer.remote import app as served
from scorer.remote import serve as host
from streams import wall, worker
from streams.cli.app import app
from streams.ingest import pages as ingest_pages
from streams.ingest import run as ingest_run
from streams.ingest.names import sources_of
from streams.kafka import agent
from streams.scoring import pages
from streams.settings import Settings
from streams.web import server as wall_server
from tests.support.chart import (
    CHART,
    EXAMPLES,
    KUBERNETES,
    Manifest,
    environment_of,
    find,
    helm,
    pods_of,
    problems_of,
    render,
    values_of,
)
from tests.support.processes import PYTHON, ROOT

CLI: Any = typer.main.get_command(app)


@pytest.fixture(scope="module", params=EXAMPLES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(request.param)


@pytest.mark.parametrize("example", EXAMPLES)
def test_helm_finds_nothing_wrong(example: str) -> None:
    checked = helm("lint", "--strict", "--kube-version", KUBERNETES, CHART, *values_of(example))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_object_is_one_of_its_kind(manifests: list[Manifest]) -> None:
    wrong = {f"{manifest['kind']}/{manifest['metadata']['name']}": problems_of(manifest) for manifest in manifests}
    assert manifests
    assert not {name: problems for name, problems in wrong.items() if problems}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "strateggy"), {}),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "livenessProb"), {}),
        ("NetworkPolicy", ("spec", "policyTypes"), "Ingress"),
        ("ScaledObject", ("spec", "maxReplicas"), 3),
        ("ScaledObject", ("spec", "fallback", "behaviour"), "static"),
        ("ScaledObject", ("spec", "minReplicaCount"), "two"),
        ("TriggerAuthentication", ("spec", "secretTargetRefs"), []),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "intervall"), "15s"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "expression"), "up"),
    ],
)
def test_a_misspelt_field_and_a_wrong_type_would_be_found(kind: str, path: tuple[str | int, ...], value: object) -> None:
    manifest = copy.deepcopy(next(item for item in render("full") if item["kind"] == kind))
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems_of(manifest)


def test_the_versions_are_the_product_s() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)
    images = {pod["spec"]["containers"][0]["image"] for pod in pods_of(render("full", "--set", "image.core.digest=")).values()}
    assert images == {f"registry.example/video/{name}:{version}" for name in ("fvq-monitor", "fvq-monitor-gpu")}


def test_the_schema_has_the_product_s_settings() -> None:
    checked = subprocess.run([PYTHON, ROOT / "scripts/chart-settings", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_settings_of_an_environment_are_taken_as_they_are_meant(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for component, pod in pods_of(manifests).items():
        environment = {name: value for name, value in environment_of(pod).items() if name.startswith("FVQ_")}
        unknown = {name for name in environment if name.removeprefix("FVQ_").lower() not in Settings.model_fields}
        assert not unknown, component
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            settings = Settings()
        assert bool(settings.broker) == (not component.startswith("scorer"))
        assert str(settings.data_dir) == "/data"


def test_every_command_is_one_of_the_product(manifests: list[Manifest]) -> None:
    for component, pod in pods_of(manifests).items():
        if "args" not in pod["spec"]["containers"][0]:
            assert pod["spec"]["containers"][0]["name"].startswith("ray-")  # KubeRay writes its command
            continue
        command, words = CLI, list(pod["spec"]["containers"][0]["args"])
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        # Parses and checks the options as the command line does before it calls the command.
        assert command.make_context(component, words)


def test_large_numbers_stay_whole() -> None:
    pods = pods_of(render("minimal", "--set", "settings.FVQ_FETCH_MAX_MB=12345678", "--set-json", "settings.FVQ_BATCH_WAIT=0.5"))
    environment = environment_of(pods["worker"])
    assert (environment["FVQ_FETCH_MAX_MB"], environment["FVQ_BATCH_WAIT"]) == ("12345678", "0.5")


def test_a_component_s_settings_go_before_those_of_all() -> None:
    pods = pods_of(render("full", "--set", "settings.FVQ_LOG_LEVEL=warning", "--set", "worker.settings.FVQ_LOG_LEVEL=debug"))
    assert environment_of(pods["worker"])["FVQ_LOG_LEVEL"] == "debug"
    assert environment_of(pods["rate"])["FVQ_LOG_LEVEL"] == "warning"


@pytest.mark.parametrize(
    ("name", "common", "own", "text"),
    [
        ("FVQ_FETCH_PRIVATE", "true", "false", "false"),
        ("FVQ_DEEP_LOW", "50", "0", "0"),
        ("FVQ_INFLUX_URL", "http://influxdb:8086", "", ""),
    ],
)
def test_so_do_those_that_turn_something_off(name: str, common: str, own: str, text: str) -> None:
    token = ["--set", "secrets.FVQ_INFLUX_TOKEN_FILE.secret=s", "--set", "secrets.FVQ_INFLUX_TOKEN_FILE.key=k"]
    pods = pods_of(render("minimal", *token, "--set", f"settings.{name}={common}", "--set", f"worker.settings.{name}={own}"))
    assert environment_of(pods["worker"])[name] == text


def test_pods_may_do_little(manifests: list[Manifest]) -> None:
    for component, pod in pods_of(manifests).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, component
        assert spec["securityContext"]["runAsNonRoot"], component
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, component
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, component
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), component
            assert "memory" in container["resources"]["limits"], component


def test_what_a_setting_names_is_mounted(manifests: list[Manifest]) -> None:
    for component, pod in pods_of(manifests).items():
        mounts = {mount["mountPath"]: mount for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes), component
        assert {"/data", "/tmp"} <= set(mounts), component
        secrets = volumes.get("secrets", {"projected": {"sources": []}})["projected"]["sources"]
        files = {f"/run/fvq/secrets/{source['secret']['items'][0]['path']}" for source in secrets}
        named = {value for name, value in environment_of(pod).items() if name.endswith("_FILE")}
        assert named == files, component
        assert ("/etc/fvq" in mounts) == ("FVQ_ALERT_POLICY" in environment_of(pod)), component
        assert all(mounts[path]["readOnly"] for path in mounts if path.startswith(("/run", "/etc"))), component


def test_a_process_gets_only_the_secrets_that_it_uses() -> None:
    named = {
        component: {name for name in environment_of(pod) if name.endswith("_FILE")}
        for component, pod in pods_of(render("full")).items()
    }
    kafka = {"FVQ_KAFKA_PASSWORD_FILE", "FVQ_KAFKA_CA_FILE"}
    assert named == {
        "worker": {*kafka, "FVQ_INFLUX_TOKEN_FILE", "FVQ_SCORER_TOKEN_FILE"},
        "scorer": {"FVQ_SCORER_TOKEN_FILE"},
        "wall": {*kafka, "FVQ_INFLUX_TOKEN_FILE", "FVQ_WEB_TOKENS_FILE"},
        "ingest": kafka,
        "ingest-dash": kafka,
        "rate": kafka,
        "topics": kafka,
    }


RAY_AGENT_PORT = 52365


def test_ports_are_the_ones_that_the_processes_listen_on(manifests: list[Manifest]) -> None:
    settings = {
        "worker": "FVQ_WEB_PORT",
        "scorer": "FVQ_SERVE_PORT",
        "wall": "FVQ_WALL_PORT",
        "ingest": "FVQ_INGEST_PORT",
        "ingest-dash": "FVQ_INGEST_PORT",
    }
    ports = {}
    for component, pod in pods_of(manifests).items():
        container = pod["spec"]["containers"][0]
        names = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]
        asked = {(probe.get("httpGet") or probe["tcpSocket"])["port"] for probe in probes}
        assert asked - {RAY_AGENT_PORT} <= set(names)
        if component in settings and not container["name"].startswith("ray-"):
            assert environment_of(pod)[settings[component]] == str(*names.values())
        if component == "rate":
            assert f"--port={names['page']}" in container["args"]
        ports[component] = names
    for manifest in manifests:
        component = manifest["metadata"]["labels"].get("app.kubernetes.io/component")
        if manifest["kind"] == "Service":
            (port,) = manifest["spec"]["ports"]
            assert port["port"] == ports[component][port["targetPort"]]
        if manifest["kind"] == "NetworkPolicy" and "ingress" in manifest["spec"]:
            selected = manifest["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
            for rule in manifest["spec"]["ingress"] if selected else []:
                assert {port["port"] for port in rule["ports"]} <= set(ports[selected].values())


def test_probes_ask_for_pages_that_are_there() -> None:
    routes = {
        "worker": re.findall(r'app\.page\("(/\w+)"\)', inspect.getsource(pages)),
        "scorer": re.findall(r'Route\("(/\w+)"', inspect.getsource(served)),
        "wall": re.findall(r'add_get\("(/\w+)"', inspect.getsource(wall_server)),
        "ingest": re.findall(r'web\.get\("(/\w+)"', inspect.getsource(ingest_pages)),
    }
    for component, paths in routes.items():
        container = pods_of(render("full"))[component]["spec"]["containers"][0]
        assert {container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")} <= set(paths)


def test_a_worker_has_the_time_that_it_takes_to_stop() -> None:
    grace = pods_of(render("minimal"))["worker"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > worker.STOP_SECONDS + agent.STOP_SECONDS + 5


def test_an_ingester_has_the_time_that_it_takes_to_stop() -> None:
    grace = pods_of(render("full"))["ingest"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > ingest_run.END_SECONDS + ingest_run.STOP_SECONDS + 5


def test_a_wall_has_the_time_that_it_takes_to_stop() -> None:
    """It serves until the proxies know that it goes."""
    spec = pods_of(render("full"))["wall"]["spec"]
    served_on = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert served_on >= 5
    assert spec["terminationGracePeriodSeconds"] > served_on + wall.END_SECONDS + 5


def test_one_wall_stays_while_another_is_replaced_or_its_node_is_drained() -> None:
    manifests = render("full")
    spec = find(manifests, "Deployment", "-wall")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = find(manifests, "PodDisruptionBudget", "-wall")["spec"]
    assert budget["maxUnavailable"] == 1
    # A budget for one pod would be of no use.
    alone = render("full", "--set", "wall.replicas=1")
    assert not [item for item in alone if item["kind"] == "PodDisruptionBudget" and item["metadata"]["name"].endswith("-wall")]


def test_the_wall_takes_the_past_from_influxdb_and_alerts_link_to_it() -> None:
    pods = pods_of(render("full"))
    environment = environment_of(pods["wall"])
    assert environment["FVQ_INFLUX_URL"] == environment_of(pods["worker"])["FVQ_INFLUX_URL"]
    assert environment["FVQ_WEB_URL"] == environment_of(pods["worker"])["FVQ_WEB_URL"] == "https://wall.example"
    signs_in = {name for name, pod in pods.items() if "FVQ_WEB_USER_HEADER" in environment_of(pod)}
    assert signs_in == {"wall"}


def test_everything_with_metrics_is_scraped() -> None:
    monitors = {item["metadata"]["name"] for item in render("full") if item["kind"] == "PodMonitor"}
    assert monitors == {f"fvq-fvq-monitor-{name}" for name in ("worker", "scorer", "wall", "ingest", "ingest-dash")}


def test_dash_has_an_ingester_of_its_own() -> None:
    manifests = render("full", "--set", "ingest.enabled=false")
    pods = pods_of(manifests)
    assert "ingest" not in pods
    pod = pods["ingest-dash"]["spec"]
    assert pod["containers"][0]["args"][:2] == ["ingest", "dash"]
    assert {volume["name"]: volume for volume in pod["volumes"]}["sources"]["secret"] == {"secretName": "dash-sources"}
    assert {item["kind"] for item in manifests if item["metadata"]["name"].endswith("-ingest-dash")} == {
        "Deployment",
        "NetworkPolicy",
        "PodMonitor",
    }


def test_the_list_of_sources_is_where_the_ingester_reads_it() -> None:
    manifests = render("full")
    pod = pods_of(manifests)["ingest"]["spec"]
    (path,) = [word.removeprefix("--list=") for word in pod["containers"][0]["args"] if word.startswith("--list=")]
    folder, _, name = path.rpartition("/")
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == folder]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    (listed,) = [
        item for item in manifests if item["kind"] == "ConfigMap" and item["metadata"]["name"] == volume["configMap"]["name"]
    ]
    assert sources_of((), listed["data"][name].splitlines()) == {
        "news": "https://origin.cdn.example/news/master.m3u8",
        "studio-7/live": "https://origin.cdn.example/studio-7/live.m3u8",
    }
    secret = render("full", "--set-json", "ingest.sources=[]", "--set", "ingest.existingSecret=sources")
    volumes = {volume["name"]: volume for volume in pods_of(secret)["ingest"]["spec"]["volumes"]}
    assert volumes[mount["name"]]["secret"] == {"secretName": "sources"}
    assert not [item for item in secret if item["metadata"]["name"] == listed["metadata"]["name"]]


@pytest.mark.parametrize("component", ["ingest", "ingest-dash"])
def test_there_is_one_ingester_and_never_two_at_a_time(component: str) -> None:
    spec = find(render("full"), "Deployment", f"-{component}")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("drain", [0, 10, 120])
def test_a_scorer_has_the_time_that_it_takes_to_stop(drain: int) -> None:
    spec = pods_of(render("full", "--set", f"scorer.drainSeconds={drain}"))["scorer"]["spec"]
    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == drain
    assert spec["terminationGracePeriodSeconds"] > drain + host.DRAIN_SECONDS + host.EXIT_SECONDS + 5


def test_selectors_find_their_pods(manifests: list[Manifest]) -> None:
    pods = [pod["metadata"]["labels"] for pod in pods_of(manifests).values()]
    for manifest in manifests:
        spec = manifest["spec"] if manifest["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor") else {}
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            wanted = selector.get("matchLabels", selector).items()
            assert any(wanted <= labels.items() for labels in pods), manifest["metadata"]["name"]


def test_without_a_scorer_the_workers_have_the_model() -> None:
    worker_pod = pods_of(render("minimal"))["worker"]
    assert worker_pod["spec"]["containers"][0]["image"].startswith("fvq-monitor:"), "nano needs no torch"
    assert "FVQ_SCORER_URL" not in environment_of(worker_pod)
    larger = pods_of(render("minimal", "--set", "settings.FVQ_MODEL=large@1"))["worker"]
    assert larger["spec"]["containers"][0]["image"].startswith("fvq-monitor-gpu:")
    elsewhere = pods_of(render("minimal", "--set", "settings.FVQ_SCORER_URL=http://gpu.example:8090"))["worker"]
    assert elsewhere["spec"]["containers"][0]["image"].startswith("fvq-monitor:")


@pytest.mark.parametrize("setting", ["FVQ_SCORER_FALLBACK=other@1", "FVQ_DEVICE=cuda"])
def test_a_worker_with_a_model_beside_the_scorer_has_what_runs_it(setting: str) -> None:
    worker_pod = pods_of(render("full", "--set", f"worker.settings.{setting}"))["worker"]
    assert "/fvq-monitor-gpu:" in worker_pod["spec"]["containers"][0]["image"]


def test_a_worker_with_a_second_model_has_what_runs_it() -> None:
    worker_pod = pods_of(render("minimal", "--set", "worker.settings.FVQ_SECOND_MODEL=nano"))["worker"]
    assert worker_pod["spec"]["containers"][0]["image"].startswith("fvq-monitor-gpu:")


def test_what_scores_while_no_scorer_answers_is_for_the_workers() -> None:
    """Each process reads only what it takes: a scorer ends at once where it is told of a fallback."""
    pods = pods_of(render("full", "--set", "settings.FVQ_SCORER_FALLBACK=nano"))
    told = {component for component, pod in pods.items() if "FVQ_SCORER_FALLBACK" in environment_of(pod)}
    assert told == {"worker"}


def test_a_scorer_of_the_cascade_gets_what_the_workers_send_it() -> None:
    deep = ["--set", "scorer.scores=deep", "--set", "scorer.settings.FVQ_MODEL=large@1"]
    pods = pods_of(render("full", *deep))
    environment = environment_of(pods["worker"])
    assert environment["FVQ_DEEP_URL"] == environment_of(pods_of(render("full"))["worker"])["FVQ_SCORER_URL"]
    assert "FVQ_SCORER_URL" not in environment
    assert "/fvq-monitor-gpu:" not in pods["worker"]["spec"]["containers"][0]["image"], "the small model needs no torch"
    assert environment_of(pods["scorer"])["FVQ_MODEL"] == "large@1"
    assert "FVQ_MODEL" not in environment


def test_a_scorer_has_one_gpu_or_none() -> None:
    limits = pods_of(render("full"))["scorer"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    pod = pods_of(render("full", "--set", "scorer.device=cpu"))["scorer"]
    assert "nvidia.com/gpu" not in pod["spec"]["containers"][0]["resources"]["limits"]
    assert environment_of(pod)["FVQ_DEVICE"] == "cpu"


def test_another_policy_of_alerts_makes_other_pods() -> None:
    before = pods_of(render("full"))["worker"]
    after = pods_of(render("full", "--set", "alertPolicy.alerts.low_quality.threshold=30"))["worker"]
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]
