"""A real Kubernetes API server on a free port, and what tests ask of it."""

from __future__ import annotations

import functools
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, KUBE, Manifest, crds, helm, tool, values_of
from tests.support.servers import TOOL_MISSING, Server, free_ports
from tests.support.waiting import wait_for

NAMESPACE = "video"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class RefusedError(Exception):
    """What the API server answered in place of doing it."""


class KubeServer(Server):
    """kube-apiserver and etcd. There are no nodes and no controllers: nothing that it stores is ever run."""

    def __init__(self, folder: Path) -> None:
        port = free_ports(3)
        super().__init__(KUBE, {"FVQ_KUBE_DIR": str(folder), "FVQ_KUBE_PORT": str(port)})
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig = folder / "kubeconfig"

    def start(self, seconds: float = 180) -> None:
        """Start it and wait until it answers.

        Where it has not been built, skip the test, in continuous integration too: `.ci/run` limits the time of its build.
        """
        started = self("start", seconds)
        if started.returncode == TOOL_MISSING:
            pytest.skip(started.stdout.strip())
        assert started.returncode == 0, started.stdout
        user = yaml.safe_load(self.kubeconfig.read_text())
        self.token = user["users"][0]["user"]["token"]
        self.context = ssl.create_default_context(cafile=user["clusters"][0]["cluster"]["certificate-authority"])

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """The answer to one request, parsed. Raises `RefusedError` with the server's words."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": kind},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RefusedError(json.load(error).get("message", "")) from None

    def has(self, path: str) -> bool:
        """Whether there is an object at this path."""
        try:
            self.ask("GET", path)
        except RefusedError:
            return False
        return True

    def add_crds(self) -> None:
        """Add the kinds of KEDA, KubeRay and the Prometheus operator, and wait until they can be used."""
        for crd in crds():
            name = self.ask("POST", CRDS_PATH, crd)["metadata"]["name"]
            wait_for(f"{name} is established", functools.partial(self._is_established, name), 60)

    def _is_established(self, name: str) -> bool:
        conditions = self.ask("GET", f"{CRDS_PATH}/{name}").get("status", {}).get("conditions") or []
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    def helm(self, command: str, *options: str, job: str = "Complete") -> subprocess.CompletedProcess[str]:
        """Run a helm command that waits for the topics' Job, and end this Job as the Job controller would.

        job: Complete or Failed.
        """
        arguments = [
            str(tool("helm")),
            *command.split(),
            *options,
            "--namespace",
            NAMESPACE,
            "--kubeconfig",
            str(self.kubeconfig),
        ]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_for(f"helm {command} ends", lambda: process.poll() is not None or self._end_job(job), 120)
                output, errors = process.communicate(timeout=120)
            finally:
                process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def install(self, example: str, *options: str) -> None:
        """Install the chart with a value file."""
        done = self.helm(f"install fvq {CHART}", *values_of(example), *options)
        assert done.returncode == 0, done.stderr

    def objects(self) -> list[Manifest]:
        """The objects of the release as helm stored them."""
        manifest = helm("get", "manifest", "fvq", "--namespace", NAMESPACE, KUBECONFIG=str(self.kubeconfig))
        assert manifest.returncode == 0, manifest.stderr
        return [item for item in yaml.safe_load_all(manifest.stdout) if item]

    def _end_job(self, condition: str) -> bool:
        """Set the status of a Job that has none yet. Returns whether there was one."""
        for job in self.ask("GET", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs")["items"]:
            if not job.get("status", {}).get("conditions"):
                created, name = job["metadata"]["creationTimestamp"], job["metadata"]["name"]
                before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[condition]
                status: dict[str, Any] = {
                    "startTime": created,
                    "conditions": [
                        {
                            "type": kind,
                            "status": "True",
                            "lastTransitionTime": created,
                            "reason": "Test",
                            "message": "as the test wants",
                        }
                        for kind in (before, condition)
                    ],
                }
                status |= {"succeeded": 1, "completionTime": created} if condition == "Complete" else {"failed": 1}
                path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{name}/status"
                self.ask("PATCH", path, {"status": status}, "application/merge-patch+json")
                return True
        return False
