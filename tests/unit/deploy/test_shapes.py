"""The deployment examples are consistent; no container and no Kubernetes runs here."""

import json
import re
import shlex
from argparse import ArgumentParser
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from django_partisan.metrics.catalogue import METRICS
from tests.support.commands import ROOT
from tools.parts.go_programs import OTELCOL, PROMETHEUS
from tools.parts.part import Part


def _yaml(name: str) -> Any:
    return yaml.load((ROOT / name).read_text(), yaml.CSafeLoader)


COMPOSE = _yaml("compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEPLOYMENT = _yaml("deploy/kubernetes/deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]
ENDS_BY_ITSELF = {"migrate", "elk-setup"}
CANNOT_BE_ASKED = {"collector", "tempo", "traffic"}
"""Services without a program for a health check in their image, or with nothing to check."""

EACH_SERVICE = pytest.mark.parametrize("name", SERVICES)
EXAMPLES = [
    ROOT / "compose.yaml",
    *(ROOT / "deploy").rglob("*.y*ml"),
    *(ROOT / "deploy").rglob("*.sh"),
    ROOT / "deploy" / "compose" / "Dockerfile",
    ROOT / "deploy" / "systemd" / "partisan@.service",
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_at_its_top_that_it_is_not_run(path: Path) -> None:
    top = " ".join(path.read_text().splitlines()[:6])

    assert re.search(r"Checked for shape only|Not (run|built) in our tests", top)


def _version(name: str) -> str:
    version: str = SERVICES[name]["image"].rpartition(":")[2]
    return version.removeprefix("v")


def test_all_parts_are_there() -> None:
    assert SERVICES.keys() >= {
        "postgres", "manager", "site", "prometheus", "alertmanager", "grafana",
        "elasticsearch", "kibana", "filebeat", "collector", "tempo",
    }  # fmt: skip


@EACH_SERVICE
def test_a_service_is_pinned_tells_its_health_and_listens_on_loopback_only(name: str) -> None:
    service = SERVICES[name]
    version = service["image"].rpartition(":")[2]

    assert "build" in service or re.fullmatch(r"v?\d+\.\d+(\.\d+)?", version)
    assert ("healthcheck" in service) == (name not in ENDS_BY_ITSELF | CANNOT_BE_ASKED)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


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


@pytest.mark.parametrize(("name", "part"), [("collector", OTELCOL), ("prometheus", PROMETHEUS)])
def test_a_service_has_the_version_that_the_tests_run(name: str, part: Part) -> None:
    assert _version(name) == part.version


def test_grafana_is_the_release_whose_components_draw_the_panels() -> None:
    components = json.loads((ROOT / "grafana/panels/package.json").read_text())["devDependencies"]
    names = ("@grafana/data", "@grafana/schema", "@grafana/ui")

    assert {components[name] for name in names} == {_version("grafana")}


def test_the_parts_of_the_elastic_stack_are_of_one_release() -> None:
    assert len({_version(name) for name in ("elasticsearch", "kibana", "filebeat")}) == 1


def test_postgresql_keeps_its_data_on_the_volume() -> None:
    [mount] = SERVICES["postgres"]["volumes"]
    major = int(_version("postgres").partition(".")[0])

    # Since version 18, the image has a folder for each major version there.
    assert major >= 18
    assert mount == "postgres:/var/lib/postgresql"


def test_every_scrape_has_the_same_limits() -> None:
    names = {
        "sample_limit": "sampleLimit",
        "label_limit": "labelLimit",
        "label_value_length_limit": "labelValueLengthLimit",
        "body_size_limit": "bodySizeLimit",
    }
    [of_the_example] = _yaml("grafana/prometheus/scrape.yaml")["scrape_configs"]
    [of_compose] = _yaml("deploy/compose/prometheus.yml")["scrape_configs"]
    of_kubernetes = _yaml("deploy/kubernetes/podmonitor.yaml")["spec"]

    limits = {name: of_the_example[name] for name in names}
    assert {name: of_compose[name] for name in names} == limits
    assert {name: of_kubernetes[field] for name, field in names.items()} == limits


def test_the_collector_can_be_reached_from_other_containers() -> None:
    assert SERVICES["collector"]["environment"]["COLLECTOR_HOST"] == "0.0.0.0"


def test_every_volume_is_used() -> None:
    mounts = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}

    assert {mount for mount in mounts if not mount.startswith(".")} == COMPOSE["volumes"].keys()


def test_grafana_is_told_every_address_that_its_data_sources_need() -> None:
    sources = (ROOT / "grafana" / "provisioning" / "datasources" / "partisan.yaml").read_text()
    needed = set(re.findall(r"^\s+url: \$\{(\w+)\}", sources, re.MULTILINE))

    assert needed
    assert needed <= SERVICES["grafana"]["environment"].keys()


def test_prometheus_loads_the_rules_and_scrapes_the_manager() -> None:
    config = _yaml("deploy/compose/prometheus.yml")
    [job] = config["scrape_configs"]
    [targets] = job["static_configs"]

    mounted = {Path(name).name for name in config["rule_files"]}
    assert mounted == {"alerts.yaml", "recording.yaml"}
    assert targets["targets"] == ["manager:9464"]
    assert "--metrics-port=9464" in SERVICES["manager"]["command"]
    assert "--metrics-host=0.0.0.0" in SERVICES["manager"]["command"]


def test_alertmanager_follows_the_shipped_file() -> None:
    assert (
        "./grafana/alertmanager/alertmanager.yaml:/etc/alertmanager/alertmanager.yml:ro"
        in (SERVICES["alertmanager"]["volumes"])
    )


def test_probes_ask_what_they_are_for() -> None:
    kinds = ("liveness", "startup", "readiness")
    probes = {kind: CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in kinds}

    assert probes == {"liveness": "/live", "startup": "/live", "readiness": "/ready"}
    assert {port["name"] for port in CONTAINER["ports"]} == {"metrics"}


def test_a_manager_may_drain_before_its_container_is_killed() -> None:
    [stop] = [arg for arg in CONTAINER["args"] if arg.startswith("--stop-timeout=")]

    assert int(stop.partition("=")[2]) < POD["spec"]["terminationGracePeriodSeconds"]


def test_the_pod_monitor_finds_the_pods_and_its_name_the_alerts() -> None:
    monitor = _yaml("deploy/kubernetes/podmonitor.yaml")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["spec"]["selector"]["matchLabels"].items() <= POD["metadata"]["labels"].items()
    assert endpoint["port"] == "metrics"
    assert "partisan" in monitor["metadata"]["name"]


def test_keda_scales_the_deployment_by_a_metric_that_exists() -> None:
    scaler = _yaml("deploy/kubernetes/keda.yaml")
    [trigger] = scaler["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    names = re.findall(r"partisan_\w+", query)

    assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert scaler["spec"]["minReplicaCount"] >= 1
    assert names == ["partisan_queue_oldest_due_age_seconds", "partisan_queue_paused"]
    assert {METRICS[name].labels for name in names} == {("queue",)}
    assert "* (1 - partisan_queue_paused{" in query  # more managers do not help a paused queue


def test_keda_sees_a_lost_metric_as_an_error_and_never_scales_to_zero() -> None:
    spec = _yaml("deploy/kubernetes/keda.yaml")["spec"]
    [trigger] = spec["triggers"]

    # Otherwise KEDA would treat a missing value as 0 and remove managers while nobody knows the latency.
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["minReplicaCount"] == 1
    assert "cooldownPeriod" not in spec  # it only applies to scaling to zero


def test_the_unit_gives_its_manager_more_time_than_that_gives_its_tasks(
    parser: ArgumentParser,
) -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy" / "systemd" / "partisan@.service")
    service = unit["Service"]
    command = shlex.split(service["ExecStart"])

    options = parser.parse_args(command[command.index("start_partisan") + 1 :])

    assert options.queue_name == "%i"
    assert int(service["TimeoutStopSec"]) == options.stop_timeout_seconds + 5
    assert (service["KillMode"], service["PrivateTmp"]) == ("mixed", "no")
