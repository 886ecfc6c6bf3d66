"""compose.yaml: valid, closed, and each command, setting, secret, variable and file in it exists."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams import parts
from streams.alerts.policy import load_policy
from streams.ingest.names import sources_of
from streams.ingest.push.address import push_sources_of
from streams.settings import Settings, load_settings
from streams.web.access.tokens import SCOPES, Tokens
from tests.support.deploy import compose_loader
from tests.support.documentation import Command
from tests.support.images import IMAGES, last_stage, read_dockerfile
from tests.support.processes import PYTHON, ROOT
from tests.unit.test_docs import problems_of

COMPOSE = ROOT / "deploy/compose"
FILE = COMPOSE / "compose.yaml"
TEXT = FILE.read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def filled_in(text: str) -> Any:
    """The file as Compose reads it without .env: each variable has its default."""
    return yaml.safe_load(VARIABLE.sub(lambda match: match[2] or "", text))


CONTENTS = filled_in(TEXT)
SERVICES: dict[str, dict[str, Any]] = CONTENTS["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("fvq-monitor")}
EXAMPLE = dict(
    line.split("=", 1) for line in (COMPOSE / ".env.example").read_text().splitlines() if line and not line.startswith("#")
)
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(params=SERVICES, ids=str)
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    checker = Path(PYTHON).parent / "check-jsonschema"
    return subprocess.run([str(checker), "--builtin-schema", "vendor.compose-spec", str(path)], capture_output=True, text=True)


def test_it_keeps_to_composes_schema() -> None:
    checked = check_schema(FILE)
    assert checked.returncode == 0, checked.stdout


def test_compose_itself_reads_it_so(tmp_path: Path) -> None:
    """The other tests read the file with PyYAML: Compose's loader sees the same services and values."""
    (tmp_path / "compose.yaml").write_text(TEXT)
    (tmp_path / "policy.yaml").write_text("")
    loaded = subprocess.run([compose_loader(), "-format", "json", "compose.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    services = json.loads(loaded.stdout)["services"]
    assert set(services) == set(SERVICES)
    for name, service in SERVICES.items():
        assert services[name]["image"] == service["image"]
        assert services[name].get("read_only", False) == service.get("read_only", False)
        seen = {key: str(value) for key, value in services[name].get("environment", {}).items()}
        assert seen == {key: str(value) for key, value in service.get("environment", {}).items()}
    assert services["worker"]["deploy"]["replicas"] == int(EXAMPLE["WORKERS"])


def test_a_misspelt_key_is_found(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(TEXT.replace("read_only: true", "readonly: true"))
    checked = check_schema(path)
    assert checked.returncode == 1
    assert "readonly" in checked.stdout


def test_a_service_is_closed(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("network_mode") is None
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_all_but_kafka_have_a_read_only_root() -> None:
    # Kafka's image writes its configuration into its own folder when it starts.
    assert [name for name, service in SERVICES.items() if not service.get("read_only")] == ["kafka"]


def test_a_service_has_a_health_check(service: dict[str, Any]) -> None:
    image = service["image"].split(":")[0]
    inherited = image == "fvq-monitor" and last_stage(read_dockerfile(IMAGES / "core.Dockerfile"), "HEALTHCHECK")
    assert inherited or service["healthcheck"].get("test") or service["healthcheck"] == {"disable": True}


def test_kafka_s_health_check_takes_a_tenth_of_a_core_at_most() -> None:
    """Kafka's tools take 2 s of a processor, and the workers need this machine's."""
    assert int(SERVICES["kafka"]["healthcheck"]["interval"].removesuffix("s")) >= 20


def test_what_a_service_waits_for_comes() -> None:
    waits = [
        (name, condition["condition"])
        for service in SERVICES.values()
        for name, condition in service.get("depends_on", {}).items()
    ]
    ends = {name for name, service in SERVICES.items() if service["restart"] == "no"}
    # `docker compose up --wait` fails where a service ends and no other one waits for its end.
    assert {name for name, condition in waits if condition == "service_completed_successfully"} == ends
    assert {name for name, condition in waits if condition == "service_healthy"} <= set(SERVICES) - ends


def test_no_secret_is_in_an_environment(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if re.search(r"TOKEN|PASSWORD|SECRET", name):
            assert name.endswith("_FILE"), name
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_every_secret_is_a_file_that_make_secrets_writes(tmp_path: Path) -> None:
    subprocess.run([str(COMPOSE / "make-secrets"), str(tmp_path / "secrets")], check=True, capture_output=True)
    written = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(CONTENTS["secrets"]) == set(written) - {"wall_token"}, "people have the wall's token, no container"
    assert all(secret["file"] == f"./secrets/{name}" for name, secret in CONTENTS["secrets"].items())
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for name, text in written.items() if name != "wall_tokens")
    assert len(set(written.values())) == len(written)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o444}
    subprocess.run([str(COMPOSE / "make-secrets"), str(tmp_path / "secrets")], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == written
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(CONTENTS["secrets"])


def test_the_token_that_make_secrets_writes_opens_the_wall(tmp_path: Path) -> None:
    subprocess.run([str(COMPOSE / "make-secrets"), str(tmp_path)], check=True, capture_output=True)
    token = Tokens(tmp_path / "wall_tokens").find((tmp_path / "wall_token").read_text())
    assert token is not None
    assert token.scopes == SCOPES


@pytest.mark.parametrize("name", OURS)
def test_a_command_exists(name: str) -> None:
    words = ("fvq", *map(str, OURS[name]["command"]))
    assert problems_of(Command({}, words, block=True)) == []


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {key: str(value) for key, value in OURS[name]["environment"].items()}
    assert {key.removeprefix("FVQ_").lower() for key in environment} <= set(Settings.model_fields)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert settings.broker == "kafka:19092" or OURS[name]["command"] == ["serve"]
    if settings.alert_policy:
        assert (COMPOSE / "policy.yaml").as_posix().endswith(settings.alert_policy.name)


def test_a_service_uses_an_image_that_has_what_it_needs() -> None:
    images = {name: service["image"] for name, service in OURS.items()}
    assert {name for name, image in images.items() if image == f"fvq-monitor-gpu:{VERSION}"} == {"scorer-cpu", "scorer-gpu"}
    assert set(images.values()) == {f"fvq-monitor:{VERSION}", f"fvq-monitor-gpu:{VERSION}"}


def test_a_health_check_of_ours_asks_the_right_port() -> None:
    for name, service in OURS.items():
        test = service.get("healthcheck", {}).get("test")
        if test:
            names = ("FVQ_SERVE_PORT", "FVQ_INGEST_PORT", "FVQ_WALL_PORT")
            settings = (service["environment"].get(name) for name in names)
            ports = {*map(str, settings), *map(str, service["command"])}
            assert test[:3] == ["CMD", "python", "/opt/healthcheck.py"]
            assert test[3] in ports, name


def test_the_example_has_every_variable_with_its_default() -> None:
    example = dict(EXAMPLE)
    assert example.pop("COMPOSE_PROFILES") in {
        profile for service in SERVICES.values() for profile in service.get("profiles", [])
    }
    found: dict[str, set[str]] = {}
    for name, default in VARIABLE.findall(TEXT):
        found.setdefault(name, set()).add(default)
    assert {name: {value} for name, value in example.items()} == found
    assert example["IMAGE_TAG"] == VERSION


def test_every_mounted_file_is_there_and_every_volume_is_declared() -> None:
    declared = set(CONTENTS["volumes"])
    made_by_the_operator = {"./media", "./models"}
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert source in made_by_the_operator or (COMPOSE / source).exists(), source
                assert mount.endswith(":ro"), mount
            else:
                assert source in declared, source
    assert load_policy(COMPOSE / "policy.yaml").receivers


def test_every_scraped_name_is_a_service() -> None:
    names = set(SERVICES) | {alias for service in SERVICES.values() for alias in aliases_of(service)}
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    ports = {name: str(job["port"]) for entry in scraped for job in entry["dns_sd_configs"] for name in job["names"]}
    assert ports == {
        "worker": str(Settings.model_fields["web_port"].default),
        "ingest": str(Settings.model_fields["ingest_port"].default),
        "ingest-push": str(Settings.model_fields["ingest_port"].default),
        "ingest-dash": str(Settings.model_fields["ingest_port"].default),
        "wall": str(Settings.model_fields["wall_port"].default),
        "scorer": str(Settings.model_fields["serve_port"].default),
    }
    assert set(ports) <= names


def test_workers_and_wall_may_read_what_encoders_push(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in OURS["ingest-push"]["environment"].items():
        monkeypatch.setenv(key, str(value))
    spool = parts.push_means(load_settings()).spool
    for name in ("worker", "wall"):
        roots = [Path(root) for root in OURS[name]["environment"]["FVQ_MEDIA_ROOTS"].split(":")]
        (root,) = [root for root in roots if spool.is_relative_to(root)]
        assert f"segments:{root}:ro" in OURS[name]["volumes"]
        assert f"segments:{root}" in OURS["ingest-push"]["volumes"]


def test_links_of_alerts_and_raters_lead_to_the_published_ports() -> None:
    """A container's own name, which a link has otherwise, is known to nobody outside."""
    for name, setting in {"wall": "FVQ_WEB_URL", "rating": "FVQ_RATE_URL"}.items():
        (port,) = OURS[name]["ports"]
        assert OURS[name]["environment"][setting] == f"http://{port.rpartition(':')[0]}", name


def test_every_mounted_volume_is_a_folder_of_the_image_s_user() -> None:
    """A new volume takes its owner from the image's folder; where there is none it is root's, and user 10001 cannot write."""
    (step,) = last_stage(read_dockerfile(IMAGES / "core.Dockerfile"), "RUN")
    folders = set(step.partition("--mode 0750 ")[2].split())
    for service in OURS.values():
        mounted = [mount.split(":") for mount in service.get("volumes", []) if not mount.startswith(".")]
        assert {target for _, target, *_ in mounted} <= folders


@pytest.mark.parametrize("name", ["live", "dash", "push"])
def test_a_list_of_sources_has_an_example_that_is_taken(name: str) -> None:
    lines = (COMPOSE / f"sources/{name}.txt").read_text().splitlines()
    example = lines[1].removeprefix("# ").replace("KEY", "b1946ac92492d234")
    read = push_sources_of if name == "push" else sources_of
    assert len(lines) == 2
    assert read((), lines) == {}
    assert len(read((), [example])) == 1


def aliases_of(service: dict[str, Any]) -> list[str]:
    """The names that other containers can use for a service, besides its own."""
    return [alias for network in service.get("networks", {}).values() for alias in network["aliases"]]
