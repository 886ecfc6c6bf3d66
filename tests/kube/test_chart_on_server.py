"""The chart on a real Kubernetes API server: installed, upgraded, rolled back, removed; and what the server refuses.

`make test-kube` builds the server and runs these; `make test` runs them where it has been built.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chart import CHART, EXAMPLES, Manifest, find, pods_of, render, values_of
from tests.support.kube import NAMESPACE, KubeServer, RefusedError

PATHS = {
    "ConfigMap": "/api/v1/{}/configmaps",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "PersistentVolumeClaim": "/api/v1/{}/persistentvolumeclaims",
    "PodDisruptionBudget": "/apis/policy/v1/{}/poddisruptionbudgets",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/{}/podmonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/{}/prometheusrules",
    "RayService": "/apis/ray.io/v1/{}/rayservices",
    "ScaledObject": "/apis/keda.sh/v1alpha1/{}/scaledobjects",
    "Service": "/api/v1/{}/services",
    "ServiceAccount": "/api/v1/{}/serviceaccounts",
    "TriggerAuthentication": "/apis/keda.sh/v1alpha1/{}/triggerauthentications",
}
WORKER = "fvq-fvq-monitor-worker"


def path_of(kind: str, name: str) -> str:
    return f"{PATHS[kind].format(f'namespaces/{NAMESPACE}')}/{name}"


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeServer]:
    server = KubeServer(tmp_path_factory.mktemp("kube") / "data")
    server.start()
    try:
        server.add_crds()
        server.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "live"}, "value": 1000})
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": restricted}})
        # A controller makes it in a cluster.
        server.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
        yield server
    finally:
        server.stop()


@pytest.fixture
def clean(kube: KubeServer) -> Iterator[KubeServer]:
    """The server, without the release and what it leaves when the test ends."""
    yield kube
    kube.helm("uninstall fvq", "--ignore-not-found")
    for claim in kube.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims")["items"]:
        kube.ask("DELETE", path_of("PersistentVolumeClaim", claim["metadata"]["name"]))


def worker_of(kube: KubeServer) -> Manifest:
    return kube.ask("GET", path_of("Deployment", WORKER))


@pytest.mark.parametrize("example", EXAMPLES)
def test_install_upgrade_roll_back_uninstall(clean: KubeServer, example: str) -> None:
    clean.install(example)
    installed = clean.objects()
    missing = [item["metadata"]["name"] for item in installed if not clean.has(path_of(item["kind"], item["metadata"]["name"]))]
    assert installed
    assert not missing

    upgraded = clean.helm(f"upgrade fvq {CHART}", *values_of(example), "--set", "settings.FVQ_GROUP=second")
    assert upgraded.returncode == 0, upgraded.stderr
    entry = {"name": "FVQ_GROUP", "value": "second"}
    assert entry in worker_of(clean)["spec"]["template"]["spec"]["containers"][0]["env"]

    back = clean.helm("rollback fvq 1")
    assert back.returncode == 0, back.stderr
    assert entry not in worker_of(clean)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert clean.objects() == installed

    removed = clean.helm("uninstall fvq")
    assert removed.returncode == 0, removed.stderr
    left = {item["kind"] for item in installed if clean.has(path_of(item["kind"], item["metadata"]["name"]))}
    assert left <= {"PersistentVolumeClaim"}  # the raters' work


@pytest.mark.parametrize("example", EXAMPLES)
def test_its_pods_are_let_in_where_pods_may_do_little(clean: KubeServer, example: str) -> None:
    clean.install(example)
    pods = pods_of(render(example))  # the hook's Job too, which is not among the release's objects
    assert {"worker", "topics"} <= set(pods)
    for component, pod in pods.items():
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "one", "labels": pod["metadata"]["labels"]},
            "spec": pod["spec"],
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All&fieldValidation=Strict"
        assert clean.ask("POST", path, body)["spec"]["serviceAccountName"], component
        greedy = copy.deepcopy(body)
        greedy["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(RefusedError, match="restricted"):
            clean.ask("POST", path, greedy)


def test_without_topics_nothing_is_installed(clean: KubeServer) -> None:
    failed = clean.helm(f"install fvq {CHART}", *values_of("minimal"), job="Failed")
    assert failed.returncode != 0
    assert "topics" in failed.stderr
    assert not clean.has(path_of("Deployment", WORKER))


def test_a_wrong_value_is_refused_and_changes_nothing(clean: KubeServer) -> None:
    clean.install("minimal")
    before = worker_of(clean)
    for options, words in (
        (["--set", "worker.replicas=many"], "worker/replicas"),
        (["--set", "settings.FVQ_BATCHSIZE=8"], "FVQ_BATCHSIZE"),
        # What the values' schema lets through, the server refuses.
        (["--set", "worker.resources.requests.cpu=lots"], "quantities must match"),
        (["--set", "nameOverride=not/a/label"], "not/a/label"),
    ):
        refused = clean.helm(f"upgrade fvq {CHART}", *values_of("minimal"), *options)
        assert refused.returncode != 0, options
        assert words in refused.stderr
    assert worker_of(clean)["spec"] == before["spec"]


@pytest.mark.parametrize(
    ("file", "right", "misspelt"),
    [
        ("worker/deployment.yaml", "minReadySeconds:", "minReadySecond:"),
        ("_helpers.tpl", "pollingInterval:", "polingInterval:"),
        ("_helpers.tpl", "stabilizationWindowSeconds: 60", "stabilisationWindowSeconds: 60"),
    ],
)
def test_a_misspelt_field_is_refused(clean: KubeServer, tmp_path: Path, file: str, right: str, misspelt: str) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    template = chart / "templates" / file
    assert right in template.read_text()
    template.write_text(template.read_text().replace(right, misspelt))
    refused = clean.helm(f"install fvq {chart}", *values_of("full"))
    assert refused.returncode != 0
    assert misspelt.split(":")[0] in refused.stderr
    assert "field not declared in schema" in refused.stderr


def test_keda_sets_the_number_of_workers_and_an_upgrade_leaves_it(clean: KubeServer) -> None:
    clean.install("full")
    # As KEDA's autoscaler does, by the scale subresource.
    scale = f"{path_of('Deployment', WORKER)}/scale"
    clean.ask("PATCH", scale, {"spec": {"replicas": 7}}, "application/merge-patch+json")
    upgraded = clean.helm(f"upgrade fvq {CHART}", *values_of("full"), "--set", "settings.FVQ_LOG_LEVEL=debug")
    assert upgraded.returncode == 0, upgraded.stderr
    assert worker_of(clean)["spec"]["replicas"] == 7
    assert find(clean.objects(), "ScaledObject", "-worker")["spec"]["scaleTargetRef"]["name"] == WORKER
