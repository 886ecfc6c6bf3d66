"""The scorer as a RayService: what Ray and KubeRay read out of it."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import Manifest, environment_of, find, pods_of, render
from tests.support.processes import PYTHON, ROOT, clean_environment


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return render("ray")


@pytest.fixture(scope="module")
def service(manifests: list[Manifest]) -> dict[str, Any]:
    return find(manifests, "RayService")["spec"]


# Ray changes the log records of the process that imports it, so it is imported in another one.
BUILD = """
import importlib, json, sys
from ray.serve.schema import ServeDeploySchema  # refuses names that it does not have
config = ServeDeploySchema.model_validate(json.load(sys.stdin))
(application,) = config.applications
module, function = application.import_path.split(":")
deployment = getattr(importlib.import_module(module), function)(application.args)._bound_deployment
print(json.dumps([config.http_options.port, deployment.num_replicas, deployment.ray_actor_options]))
"""


def test_ray_takes_its_configuration(manifests: list[Manifest], service: dict[str, Any], tmp_path: Path) -> None:
    """As Ray builds the application, in a process with the pod's environment; nothing is started."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: make setup")
    token = tmp_path / "token"
    token.write_text("a-token")
    pod = environment_of(pods_of(manifests)["scorer"]) | {"FVQ_SCORER_TOKEN_FILE": str(token), "FVQ_DATA_DIR": str(tmp_path)}
    built = subprocess.run(
        [PYTHON, "-c", BUILD],
        input=json.dumps(yaml.safe_load(service["serveConfigV2"])),
        env=clean_environment() | pod,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout) == [8090, 3, {"num_cpus": 1.0, "num_gpus": 1.0}]


def test_ray_is_the_one_that_the_product_is_tested_with(service: dict[str, Any]) -> None:
    assert service["rayClusterConfig"]["rayVersion"] == version("ray")


def test_each_pod_has_one_replica(service: dict[str, Any]) -> None:
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    (application,) = yaml.safe_load(service["serveConfigV2"])["applications"]
    assert {group["replicas"], group["minReplicas"], group["maxReplicas"], int(application["args"]["replicas"])} == {3}
    assert (group["rayStartParams"]["num-cpus"], group["rayStartParams"]["num-gpus"]) == ("1", "1")
    assert (application["args"]["cpus"], application["args"]["gpus"]) == ("1", "1")
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


def test_without_gpus_replicas_ask_for_none() -> None:
    spec = find(render("ray", "--set", "scorer.device=cpu"), "RayService")["spec"]
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert yaml.safe_load(spec["serveConfigV2"])["applications"][0]["args"]["gpus"] == group["rayStartParams"]["num-gpus"] == "0"


def test_the_head_has_no_replica(service: dict[str, Any]) -> None:
    assert service["excludeHeadPodFromServeSvc"] is True
    head = service["rayClusterConfig"]["headGroupSpec"]
    assert (head["rayStartParams"]["num-cpus"], head["rayStartParams"]["num-gpus"]) == ("0", "0")
    # From this port KubeRay makes the Service.
    assert {"name": "serve", "containerPort": 8090} in head["template"]["spec"]["containers"][0]["ports"]


def test_the_workers_ask_the_service_that_kuberay_makes(manifests: list[Manifest]) -> None:
    address = urllib.parse.urlsplit(environment_of(pods_of(manifests)["worker"])["FVQ_SCORER_URL"])
    assert address.hostname == f"{find(manifests, 'RayService')['metadata']['name']}-serve-svc"
    assert address.port == 8090


def test_ray_has_a_token_and_sends_no_telemetry(manifests: list[Manifest], service: dict[str, Any]) -> None:
    assert service["rayClusterConfig"]["authOptions"] == {"mode": "token", "secretName": "fvq-ray"}
    for component in ("scorer", "scorer-head"):
        environment = environment_of(pods_of(manifests)[component])
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
        # An own value would go before that of authOptions.
        assert not [name for name in environment if name.startswith("RAY_AUTH")]


def test_ray_s_own_ports_are_for_ray_and_its_operator(manifests: list[Manifest]) -> None:
    open_to: dict[str, set[Any]] = {}
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            for rule in manifest["spec"].get("ingress", []):
                ports = tuple(port["port"] for port in rule.get("ports", [])) or ("all",)
                open_to.setdefault(manifest["metadata"]["name"].removeprefix("fvq-fvq-monitor-"), set()).add(
                    (ports, json.dumps(rule["from"]))
                )
    ((serve_ports, workers),) = open_to["scorer"]
    assert serve_ports == (8090,)
    assert '"worker"' in workers
    ((ray_ports, ray),) = open_to["ray"]
    assert ray_ports == ("all",)
    assert '["scorer", "scorer-head"]' in ray
    ((head_ports, operator),) = open_to["ray-head"]
    assert head_ports == (8265,)
    assert "kuberay-operator" in operator
    assert set(open_to) == {"scorer", "ray", "ray-head"}


def test_the_longest_name_fits_kuberay() -> None:
    name = find(render("ray", "--set", f"fullnameOverride={'a' * 40}"), "RayService")["metadata"]["name"]
    assert len(name) <= 47  # the most that KubeRay 1.7 takes
