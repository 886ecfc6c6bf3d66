"""The Helm chart rendered, and its objects held against strict schemas, without a cluster."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.processes import ROOT
from tests.support.servers import TOOL_MISSING

CHART = ROOT / "deploy/helm/fvq-monitor"
KUBE = ROOT / "scripts/kube/kube"
KUBERNETES = "1.36"
"""The version of which the API server of `scripts/kube/kube` is, and against whose schemas objects are held."""

EXAMPLES = sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml"))
"""The names of the value files with which the chart is checked."""

Manifest = dict[str, Any]


def tool(name: str) -> Path:
    """The path of helm or of the folder of CRDs. Where they are missing, skip the test; with CI=true, fail it."""
    asked = subprocess.run([KUBE, name], capture_output=True, text=True)
    if asked.returncode == TOOL_MISSING and os.environ.get("CI") != "true":
        pytest.skip(asked.stderr.strip())
    assert asked.returncode == 0, asked.stderr
    return Path(asked.stdout.strip())


def helm(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run helm to its end."""
    return subprocess.run(
        [tool("helm"), *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


def values_of(example: str) -> list[str]:
    """Helm's options for a value file of the chart."""
    return ["--values", str(CHART / f"ci/{example}-values.yaml")]


@functools.cache
def render(example: str, *options: str) -> list[Manifest]:
    """The objects of the chart with a value file; to be read only, as they are kept.

    options: more of helm's, for example `--set worker.replicas=3`.
    """
    rendered = helm("template", "fvq", CHART, "--namespace", "video", "--kube-version", KUBERNETES, *values_of(example), *options)
    assert rendered.returncode == 0, rendered.stderr
    return [manifest for manifest in yaml.safe_load_all(rendered.stdout) if manifest]


def refusal(example: str, *options: str) -> str:
    """Why helm refuses to render the chart with these options; a failed test where it does not."""
    rendered = helm("template", "fvq", CHART, "--kube-version", KUBERNETES, *values_of(example), *options)
    assert rendered.returncode != 0, "helm took it"
    return rendered.stderr


def problems_of(manifest: Manifest) -> list[str]:
    """What is wrong with an object: fields that its kind does not have, values of another type."""
    group = manifest["apiVersion"].split("/")[0]
    if "." in group and not group.endswith(".k8s.io"):
        schema = crd_schema(group, manifest["kind"], manifest["apiVersion"].split("/")[1])
        validator = jsonschema.Draft7Validator(schema)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message[:300]}"]
    return []


@functools.cache
def crds() -> list[Manifest]:
    """The definitions of KEDA's, KubeRay's and the Prometheus operator's kinds.

    KubeRay's are of 1.5.0, the newest that the Go module proxy has. What the chart uses of 1.6 is added here.
    """
    definitions = [yaml.load(file.read_text(), yaml.CSafeLoader) for file in sorted(tool("crds").glob("*.yaml"))]
    (ray,) = [crd for crd in definitions if crd["spec"]["names"]["kind"] == "RayService"]
    for version in ray["spec"]["versions"]:
        if version["name"] == "v1":
            cluster = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rayClusterConfig"]
            text = {"type": "string"}
            modes = text | {"enum": ["token", "disabled"]}
            cluster["properties"]["authOptions"] = {"type": "object", "properties": {"mode": modes, "secretName": text}}
    return definitions


@functools.cache
def crd_schema(group: str, kind: str, version: str) -> dict[str, Any]:
    """The schema of a kind that a CRD brings, as strict as the API server is with `fieldValidation=Strict`."""
    for crd in crds():
        if crd["spec"]["group"] == group and crd["spec"]["names"]["kind"] == kind:
            schemas = {entry["name"]: entry["schema"]["openAPIV3Schema"] for entry in crd["spec"]["versions"] if entry["served"]}
            schema = _strict(schemas[version])
            # The API server knows metadata of itself; the CRD only says that they are an object.
            return schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}
    raise AssertionError(f"no CRD has {kind} of {group}")


def _strict(schema: Any) -> Any:
    """A CRD's schema in which an object has no fields but those that are named."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def pods_of(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates among the objects, by component; those of a RayService as `scorer-head` and `scorer`."""
    pods = {}
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            pod = manifest["spec"]["template"]
            pods[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
        elif manifest["kind"] == "RayService":
            cluster = manifest["spec"]["rayClusterConfig"]
            pods["scorer-head"] = cluster["headGroupSpec"]["template"]
            pods["scorer"] = cluster["workerGroupSpecs"][0]["template"]
    return pods


def find(manifests: list[Manifest], kind: str, suffix: str = "") -> Manifest:
    """The one object of a kind whose name ends so."""
    (manifest,) = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"].endswith(suffix)]
    return manifest


def environment_of(pod: Manifest) -> dict[str, str]:
    """The environment of a pod's first container."""
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}
