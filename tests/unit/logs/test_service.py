import pytest

from django_partisan.logs.service import service_fields


def test_without_opentelemetrys_variables_no_service_is_named():
    assert service_fields({}) == {}


def test_the_resource_attributes_name_the_service():
    attributes = "service.name=a,service.version=2,deployment.environment=old,service.instance.id=pod-7"

    assert service_fields({"OTEL_RESOURCE_ATTRIBUTES": attributes}) == {
        "service.name": "a",
        "service.version": "2",
        "service.environment": "old",
        "service.node.name": "pod-7",
    }


def test_otel_service_name_wins():
    environ = {"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a"}

    assert service_fields(environ) == {"service.name": "b"}


def test_the_newer_name_of_the_environment_wins():
    attributes = "deployment.environment.name=new,deployment.environment=old"

    assert service_fields({"OTEL_RESOURCE_ATTRIBUTES": attributes}) == {"service.environment": "new"}


@pytest.mark.parametrize("attributes", ["", ",", "service.name", "=x", "service.name=", "other=1"])
def test_malformed_attributes_are_ignored(attributes):
    assert service_fields({"OTEL_RESOURCE_ATTRIBUTES": attributes}) == {}


def test_values_are_percent_decoded():
    assert service_fields({"OTEL_RESOURCE_ATTRIBUTES": " service.name = my%20shop "}) == {
        "service.name": "my shop"
    }
