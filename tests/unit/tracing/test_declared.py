"""The declared spans and attributes match the contract and the semantic conventions."""

import pytest
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, exception_attributes, server_attributes
from opentelemetry.trace import SpanKind

from django_partisan.tracing import spans

# Span: first word of its name, and kind, as documented.
PROMISED_SPANS = {
    "send": ("send", SpanKind.PRODUCER),
    "create": ("create", SpanKind.PRODUCER),
    "batch send": ("send", SpanKind.CLIENT),
    "claim": ("claim", SpanKind.INTERNAL),
    "process": ("process", SpanKind.CONSUMER),
    "settle": ("settle", SpanKind.CLIENT),
    "schedule": ("schedule", SpanKind.PRODUCER),
}

SINGLE = {"send", "create", "process"}
ALL = set(PROMISED_SPANS)

# Attribute: type, and the spans that have it.
PROMISED_ATTRIBUTES = {
    "messaging.system": (str, ALL),
    "messaging.operation.name": (str, ALL),
    "messaging.operation.type": (str, ALL - {"claim", "schedule"}),
    "messaging.destination.name": (str, ALL),
    "messaging.message.id": (str, SINGLE),
    "messaging.batch.message_count": (int, {"batch send", "claim", "settle", "schedule"}),
    "messaging.client.id": (str, {"process", "settle", "claim", "schedule"}),
    "server.address": (str, ALL),
    "server.port": (int, ALL),
    "partisan.processor": (str, SINGLE),
    "partisan.task.attempt": (int, {"process"}),
    "partisan.task.retries": (int, {"process"}),
    "partisan.task.postpones": (int, {"process"}),
    "partisan.task.priority": (int, {"process"}),
    "partisan.task.wait_seconds": (float, {"process"}),
    "partisan.task.outcome": (str, {"process"}),
    "partisan.task.delay_seconds": (float, {"process"}),
    "partisan.task.deduplicated": (bool, {"send"}),
    "error.type": (str, {"send", "batch send", "process", "schedule"}),
}

CONVENTIONS = {
    text
    for module in (messaging_attributes, server_attributes, error_attributes, exception_attributes)
    for text in vars(module).values()
    if isinstance(text, str)
}


def test_spans_are_those_promised():
    assert {name: (span.operation, span.kind) for name, span in spans.SPANS.items()} == PROMISED_SPANS


def test_attributes_are_those_promised():
    declared = {attribute.name: (attribute.type, set(attribute.on)) for attribute in spans.ATTRIBUTES}

    assert declared == PROMISED_ATTRIBUTES
    assert len(spans.ATTRIBUTES) == len(declared)


@pytest.mark.parametrize("attribute", spans.ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_attribute_is_a_semantic_convention_or_our_own(attribute: spans.Attribute):
    assert attribute.name in CONVENTIONS or attribute.name.startswith("partisan.")


def test_fields_of_the_exception_event_are_the_conventions():
    fields = {spans.EXCEPTION_TYPE, spans.EXCEPTION_MESSAGE, spans.EXCEPTION_STACKTRACE}

    assert fields <= CONVENTIONS


def test_key_we_put_into_a_row_is_ours():
    assert spans.PREVIOUS_SPAN.startswith("partisan.")
