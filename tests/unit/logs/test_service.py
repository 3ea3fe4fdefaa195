"""The service name in log lines, from OpenTelemetry's variables."""

import pytest

from django_partisan.logs.ecs import service_fields

ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
MALFORMED = ("", ",", "service.name", "=x", "service.name=", "other=1")


@pytest.mark.parametrize(
    ("environ", "fields"),
    [
        ({}, {}),
        (
            {
                ATTRIBUTES: "service.name=a,service.version=2,deployment.environment=old,"
                "service.instance.id=pod-7"
            },
            {
                "service.name": "a",
                "service.version": "2",
                "service.environment": "old",
                "service.node.name": "pod-7",
            },
        ),
        ({"OTEL_SERVICE_NAME": "b", ATTRIBUTES: "service.name=a"}, {"service.name": "b"}),
        (
            {ATTRIBUTES: "deployment.environment.name=new,deployment.environment=old"},
            {"service.environment": "new"},
        ),
        ({ATTRIBUTES: " service.name = my%20shop "}, {"service.name": "my shop"}),
        *(({ATTRIBUTES: malformed}, {}) for malformed in MALFORMED),
    ],
    ids=["nothing", "attributes", "service name wins", "newer name wins", "percent", *map(repr, MALFORMED)],
)
def test_a_service_is_named_by(environ, fields):
    assert service_fields(environ) == fields
