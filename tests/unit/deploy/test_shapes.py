"""The deployment examples hang together; no container and no Kubernetes runs here."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from django_partisan.metrics.catalogue import METRICS

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KUBERNETES = ROOT / "deploy" / "kubernetes"
ENDS_BY_ITSELF = {"migrate", "elk-setup"}
CANNOT_BE_ASKED = {"collector", "tempo", "traffic"}
"""Without a program to ask with in their image, or without anything to ask."""

EACH_SERVICE = pytest.mark.parametrize("name", SERVICES)
EXAMPLES = [
    ROOT / "compose.yaml",
    *(ROOT / "deploy").rglob("*.y*ml"),
    *(ROOT / "deploy").rglob("*.sh"),
    ROOT / "deploy" / "compose" / "Dockerfile",
]


def _kubernetes(name: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())  # type: ignore[no-any-return]


def _container() -> dict[str, Any]:
    [container] = _kubernetes("deployment")["spec"]["template"]["spec"]["containers"]
    return container  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_at_its_top_that_it_is_not_run(path: Path) -> None:
    top = " ".join(path.read_text().splitlines()[:6])

    assert re.search(r"Checked for shape only|Not (run|built) in our tests", top)


def test_all_parts_are_there() -> None:
    assert SERVICES.keys() >= {
        "postgres", "manager", "site", "prometheus", "alertmanager", "grafana",
        "elasticsearch", "kibana", "filebeat", "collector", "tempo",
    }  # fmt: skip


@EACH_SERVICE
def test_an_image_is_pinned(name: str) -> None:
    version = SERVICES[name]["image"].rpartition(":")[2]

    assert "build" in SERVICES[name] or re.fullmatch(r"v?\d+\.\d+(\.\d+)?", version)


@EACH_SERVICE
def test_a_service_that_stays_and_can_be_asked_has_a_health_check(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name not in ENDS_BY_ITSELF | CANNOT_BE_ASKED)


@EACH_SERVICE
def test_ports_are_open_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@EACH_SERVICE
def test_what_a_service_waits_for_can_come(name: str) -> None:
    waits = SERVICES[name].get("depends_on", {})
    conditions = waits.items() if isinstance(waits, dict) else [(other, {}) for other in waits]
    for other, how in conditions:
        assert other in SERVICES
        if how.get("condition") == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if how.get("condition") == "service_completed_successfully":
            assert other in ENDS_BY_ITSELF


@EACH_SERVICE
def test_what_is_mounted_exists(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_is_used() -> None:
    mounts = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}

    assert {mount for mount in mounts if not mount.startswith(".")} == COMPOSE["volumes"].keys()


def test_grafana_is_told_every_address_that_its_data_sources_need() -> None:
    sources = (ROOT / "grafana" / "provisioning" / "datasources" / "partisan.yaml").read_text()
    needed = set(re.findall(r"^\s+url: \$\{(\w+)\}", sources, re.MULTILINE))

    assert needed
    assert needed <= SERVICES["grafana"]["environment"].keys()


def test_prometheus_loads_the_rules_and_scrapes_the_manager() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    [targets] = job["static_configs"]

    mounted = {Path(name).name for name in config["rule_files"]}
    assert mounted == {"alerts.yaml", "recording.yaml"}
    assert targets["targets"] == ["manager:9464"]
    assert "--metrics-port=9464" in SERVICES["manager"]["command"]
    assert "--metrics-host=0.0.0.0" in SERVICES["manager"]["command"]


def test_probes_ask_what_they_are_for() -> None:
    container = _container()

    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert container["startupProbe"]["httpGet"]["path"] == "/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert {port["name"] for port in container["ports"]} == {"metrics"}


def test_a_manager_may_drain_before_its_container_is_killed() -> None:
    grace = _kubernetes("deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    [stop] = [arg for arg in _container()["args"] if arg.startswith("--stop-timeout=")]

    assert int(stop.partition("=")[2]) < grace


def test_the_pod_monitor_finds_the_pods_and_its_name_the_alerts() -> None:
    labels = _kubernetes("deployment")["spec"]["template"]["metadata"]["labels"]
    monitor = _kubernetes("podmonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert endpoint["port"] == "metrics"
    assert "partisan" in monitor["metadata"]["name"]


def test_keda_scales_the_deployment_by_a_metric_that_exists() -> None:
    scaler = _kubernetes("keda")
    [trigger] = scaler["spec"]["triggers"]
    [name] = re.findall(r"partisan_\w+", trigger["metadata"]["query"])

    assert scaler["spec"]["scaleTargetRef"]["name"] == _kubernetes("deployment")["metadata"]["name"]
    assert scaler["spec"]["minReplicaCount"] >= 1
    assert METRICS[name].labels == ("queue",)
