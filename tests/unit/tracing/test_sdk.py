"""The SDK is set up in our processes if and only if the environment asks for it."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio

from django_partisan.exceptions import CannotStart
from django_partisan.telemetry import bus, swallowed
from django_partisan.tracing.exporters import GRPC, HTTP, ensure_right_endpoint, exporter_names
from django_partisan.tracing.otlp_http import OtlpHttpExporter
from django_partisan.tracing.plain_spans import PlainTracer
from django_partisan.tracing.sdk import configure_sdk_if_needed, configured_tracer

CREDENTIALS = [
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def otel(no_sdk: list[Any]) -> Iterator[list[Any]]:
    """Collect the providers that are set up in a process without any tracing."""
    yield no_sdk
    for provider in no_sdk:
        provider.shutdown()


def exporters_of(provider: Any) -> list[Any]:
    processors = provider._active_span_processor._span_processors
    return [processor.span_exporter._exporter for processor in processors]


def configure(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], role: str = "manager") -> bool:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    configure_sdk_if_needed(role, "images")
    return configured_tracer() is not None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "shop"}, []),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
        (ENDPOINT, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (
            {
                **ENDPOINT,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ["otlp_proto_http"],
        ),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, []),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc"}, ["otlp_proto_grpc"]),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, []),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, ["otlp_proto_http"]),
    ],
)
def test_exporters_are_those_the_environment_asks_for(variables: dict[str, str], expected: list[str]):
    assert exporter_names(variables) == expected


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4318'; expected a URL such as http://localhost:4318. ",
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is 'collector'; ",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT is 'ftp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"}, "OTEL_EXPORTER_OTLP_ENDPOINT is 'http://'"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:many"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'http://host:m",
        ),
    ],
)
def test_endpoint_that_cannot_work_is_refused_by_a_manager(
    otel, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
):
    with pytest.raises(CannotStart) as refused:
        configure(monkeypatch, variables)

    assert str(refused.value).startswith(said)
    assert otel == []


@pytest.mark.parametrize("protocol", [GRPC, HTTP])
def test_endpoint_of_grpc_and_one_that_is_not_used_need_no_scheme(protocol: str):
    ensure_right_endpoint(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **({} if protocol == GRPC else {"OTEL_TRACES_EXPORTER": "none"}),
        }
    )


def test_endpoint_alone_exports_over_http(otel, monkeypatch: pytest.MonkeyPatch):
    assert configure(monkeypatch, ENDPOINT)

    [exporter] = exporters_of(otel[0])
    assert isinstance(exporter, OtlpHttpExporter)
    assert otel[0].makes_plain_spans


@pytest.mark.parametrize("variable", CREDENTIALS)
def test_exporter_whose_credentials_come_from_a_plugin_is_the_sdks(
    otel, monkeypatch: pytest.MonkeyPatch, variable: str
):
    made = []
    monkeypatch.setattr(OTLPSpanExporter, "__init__", lambda self: made.append(self))
    monkeypatch.setattr(OTLPSpanExporter, "shutdown", lambda self: None)

    assert configure(monkeypatch, ENDPOINT | {variable: "vault"})

    assert exporters_of(otel[0]) == made
    assert type(made[0]) is OTLPSpanExporter


def test_resource_is_the_environments_and_names_the_process(otel, monkeypatch: pytest.MonkeyPatch):
    names = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod"}
    configure(monkeypatch, ENDPOINT | names, "worker")

    found = otel[0].resource.attributes
    assert found["service.name"] == "shop"
    assert found["deployment.environment.name"] == "prod"
    assert found["process.pid"] == os.getpid()
    assert found["partisan.process.role"] == "worker"
    assert found["partisan.queue.name"] == "images"


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, type(ALWAYS_OFF)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, ParentBasedTraceIdRatio),
    ],
)
def test_sampler_is_the_environments(otel, monkeypatch: pytest.MonkeyPatch, variables, kind):
    configure(monkeypatch, ENDPOINT | variables)

    assert isinstance(otel[0].sampler, kind)


def test_console_writes_to_standard_error(otel, monkeypatch: pytest.MonkeyPatch, capsys):
    configure(monkeypatch, {"OTEL_TRACES_EXPORTER": "console"})
    otel[0].get_tracer("t").start_span("shown").end()
    otel[0].force_flush()

    shown = capsys.readouterr()
    assert shown.out == ""
    assert '"name": "shown"' in shown.err


def test_provider_of_the_host_stays(otel, monkeypatch: pytest.MonkeyPatch):
    host = TracerProvider(shutdown_on_exit=False)
    otel.append(host)

    configure(monkeypatch, ENDPOINT)
    assert otel == [host]


@pytest.mark.parametrize(
    ("variables", "module", "remedy"),
    [
        (
            ENDPOINT,
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            "pip install 'django-partisan[otlp]'",
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
            "opentelemetry-exporter-otlp-proto-grpc",
        ),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, None, "'otlp over http/json'"),
        ({"OTEL_TRACES_EXPORTER": "postcards"}, None, "'postcards'"),
    ],
)
def test_missing_exporter_is_one_line_that_names_the_remedy(
    otel, monkeypatch: pytest.MonkeyPatch, capsys, variables, module, remedy
):
    if module:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, "django_partisan.tracing.otlp_http", raising=False)

    assert not configure(monkeypatch, variables)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("django_partisan: ")
    assert remedy in line
    assert otel == []


def test_missing_exporter_does_not_cost_the_other_one(otel, monkeypatch: pytest.MonkeyPatch, capsys):
    assert configure(monkeypatch, {"OTEL_TRACES_EXPORTER": "postcards,otlp"})

    assert len(exporters_of(otel[0])) == 1
    assert "postcards" in capsys.readouterr().err


def test_exporter_that_refuses_its_settings_is_one_line(otel, monkeypatch: pytest.MonkeyPatch, capsys):
    def refuse(self: Any, session: Any) -> None:
        raise ValueError("no such certificate")

    monkeypatch.setattr(OTLPSpanExporter, "__init__", refuse)

    assert not configure(monkeypatch, ENDPOINT)

    assert capsys.readouterr().err == (
        "django_partisan: The span exporter 'otlp_proto_http' rejected its settings: no such certificate\n"
    )


def test_workers_do_not_repeat_what_is_wrong(otel, monkeypatch: pytest.MonkeyPatch, capsys):
    assert not configure(monkeypatch, {"OTEL_TRACES_EXPORTER": "postcards"}, "worker")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, True),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, True),
        ({"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "false", "OTEL_SPAN_LINK_COUNT_LIMIT": ""}, True),
        ({"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}, False),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64"}, False),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100"}, False),
    ],
    ids=str,
)
def test_spans_are_plain_unless_the_environment_asks_for_more_than_they_give(
    otel, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
):
    assert configure(monkeypatch, ENDPOINT | variables)

    assert isinstance(configured_tracer(), PlainTracer) is expected
    assert not isinstance(otel[0].get_tracer("the host"), PlainTracer)


def test_the_sdks_exporter_where_ours_cannot_be_had(otel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "django_partisan.tracing.otlp_http", None)

    assert configure(monkeypatch, ENDPOINT)

    assert [type(exporter) for exporter in exporters_of(otel[0])] == [OTLPSpanExporter]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_TRACES_EXPORTER": "postcards,otlp"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
    ids=str,
)
def test_what_workers_export_with_over_http_is_imported_before_they_are_forked(
    otel, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    modules = ("django_partisan.tracing.otlp_http", "django_partisan.tracing.provider")
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)

    bus.preload()

    assert [module in sys.modules for module in modules] == [expected, expected]


def test_what_is_missing_is_no_fault_of_the_fork_servers(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "django_partisan.tracing.otlp_http", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    before = swallowed.counts["traces"]

    bus.preload()

    assert swallowed.counts["traces"] == before
    assert capsys.readouterr() == ("", "")
