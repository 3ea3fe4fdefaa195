"""An application that configures nothing prints nothing when it enqueues (acceptance check 7)."""

import pytest

from django_partisan.models import Task
from tests.processes.observability.watching import Watching

ENQUEUE = """
Leaf(1).delay()
Single(1).delay()
Single(1).delay()
bulk_delay([Leaf(2), Single(3), Single(3)])
with transaction.atomic():
    Leaf(4).delay()
    transaction.set_rollback(True)
"""
REFUSED = """
try:
    with transaction.atomic():
        try:
            connection.cursor().execute("SELECT 1 / 0")
        except DatabaseError:
            Leaf("refused").delay()
except DatabaseError:
    Leaf("after it").delay()
"""
IMPORTS = "from django_partisan.processor import bulk_delay\nfrom django.db import *\n"
NO_LOGGING = "from tests.processes import settings; settings.LOGGING_CONFIG = None"
CLIENT_METRICS = (
    "from tests.processes import settings; settings.PARTISAN_OBSERVABILITY = {'CLIENT_METRICS': True}"
)


@pytest.mark.parametrize(
    ("before", "variables"),
    [
        ("", {}),
        (NO_LOGGING, {}),
        (CLIENT_METRICS, {}),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}),
        ("", {"OTEL_TRACES_EXPORTER": "postcards"}),
        ("", {"OTEL_PROPAGATORS": "tracecontext", "OTEL_SERVICE_NAME": "shop"}),
    ],
    ids=["django's logging", "no logging", "client metrics", "endpoint", "unknown exporter", "name"],
)
def test_enqueueing_prints_nothing(watching: Watching, before: str, variables: dict[str, str]):
    done = watching.application(IMPORTS + ENQUEUE, before, **variables)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert Task.objects.count() == 4


@pytest.mark.parametrize("before", ["", NO_LOGGING], ids=["django's", "none"])
def test_enqueueing_that_the_database_refuses_raises_and_prints_nothing(watching: Watching, before: str):
    done = watching.application(IMPORTS + REFUSED, before)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert Task.objects.get().arguments["args"] == ["after it"]


def test_client_metrics_count_in_the_default_registry_of_the_application(watching: Watching):
    show = "import prometheus_client; print(prometheus_client.generate_latest().decode())"
    done = watching.application(IMPORTS + ENQUEUE + REFUSED + show, CLIENT_METRICS)

    said = done.stdout.splitlines()
    assert done.stderr == ""
    assert 'partisan_tasks_enqueued_total{processor="Leaf",queue="default",scheduled="false"} 3.0' in said
    assert 'partisan_tasks_enqueued_total{processor="Single",queue="default",scheduled="false"} 2.0' in said
    assert 'partisan_tasks_deduplicated_total{processor="Single",queue="default"} 2.0' in said
    assert 'partisan_tasks_enqueue_failed_total{processor="Leaf",queue="default"} 1.0' in said
