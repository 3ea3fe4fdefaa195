"""A real scrape contains exactly what the catalogue declares (acceptance check 3)."""

import shutil
import subprocess
from typing import NamedTuple

import pytest

from django_partisan.metrics import catalogue
from django_partisan.metrics.custom import OWN_LABELS
from django_partisan.metrics.metric import COUNTER, HISTOGRAM, INFO, Metric
from tests.processes.managing import Bench
from tests.processes.observability.scraping import OPENMETRICS, TEXT, Scrape, address_of, get, scrape_until
from tests.processes.observability.watching import Watching, enqueue_each, wait_until_done

pytestmark = pytest.mark.usefixtures("db")

OURS = "partisan_"
USERS = "partisan_user_"
NEVER_EMPTY = {name for name, metric in catalogue.METRICS.items() if "D" not in metric.sources}
PROCESS = {"process_cpu_seconds", "process_resident_memory_bytes", "python_info", "python_gc_collections"}


class Worked(NamedTuple):
    """A manager that ran some of everything, with spans, and a scrape of it."""

    address: str
    seen: Scrape


@pytest.fixture(scope="module")
def worked(module_bench: Bench) -> Worked:
    """Run some work, once for all tests of the module."""
    manager = Watching(module_bench).ready(
        DEFAULT_TIMEOUT_SECONDS=60, variables={"OTEL_TRACES_EXPORTER": "console"}
    )
    enqueue_each(("Enqueue",), ("PostponeOnce",), ("RetryConstantly", 1), ("Fail", ""), ("Measured",))
    wait_until_done()
    scrape_until(manager, "partisan_task_attempts_count", 8)
    return Worked(address_of(manager), scrape_until(manager, "partisan_db_up", 1))


def family_name(metric: Metric) -> str:
    """Return the name of a metric's family in OpenMetrics."""
    suffix = {COUNTER: "_total", INFO: "_info"}.get(metric.kind, "")
    return metric.name.removesuffix(suffix)


def test_families_kinds_and_labels_are_those_of_the_catalogue(worked: Worked):
    seen = worked.seen

    ours = {name: family for name, family in seen.families.items() if name.startswith(OURS)}
    declared = {family_name(metric): metric for metric in catalogue.METRICS.values()}
    assert {name for name in ours if not name.startswith(USERS)} == declared.keys()
    for name, metric in declared.items():
        assert ours[name].type == metric.kind, name
        assert ours[name].documentation == metric.help, name
        for sample in ours[name].samples:
            extra = {"le"} if metric.kind == HISTOGRAM and sample.name.endswith("_bucket") else set()
            assert set(sample.labels) == {*metric.labels, *extra}, sample
    assert {name for name in PROCESS if name in seen.families} == PROCESS
    assert not [name for name in seen.values if name[0].endswith("_created")]


def test_every_family_that_workers_and_manager_fill_has_series(worked: Worked):
    seen = worked.seen

    filled = {name for name, family in seen.families.items() if family.samples}
    missing = {name for name in NEVER_EMPTY if family_name(catalogue.METRICS[name]) not in filled}
    assert missing == set()


def test_series_of_the_queue_s_processors_exist_before_their_first_run(worked: Worked):
    seen = worked.seen

    for processor in ("ExitProcess", "TearMessage", "WriteNote"):
        for way in ("started", "completed", "postponed", "retried"):
            assert list(seen.series(f"partisan_tasks_{way}_total", processor=processor).values()) == [0]
        assert set(seen.series("partisan_tasks_failed_total", processor=processor).values()) == {0}
        assert len(seen.series("partisan_task_duration_seconds_count", processor=processor)) == 1
    assert seen.series("partisan_tasks_started_total", processor="Elsewhere") == {}


def test_exemplars_are_in_openmetrics_only(worked: Worked):
    seen = worked.seen
    plain = get(worked.address, accept=TEXT)

    names = {name.removesuffix("_bucket") for name, _ in seen.exemplars}
    assert names == {"partisan_task_duration_seconds", "partisan_task_queue_wait_seconds"}
    for exemplar in seen.exemplars.values():
        assert {name: len(value) for name, value in exemplar.labels.items()} == {
            "trace_id": 32,
            "span_id": 16,
        }
    assert plain.content_type.startswith("text/plain")
    assert " # {" not in plain.body
    assert get(worked.address, accept=OPENMETRICS).content_type.startswith("application/openmetrics-text")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(worked: Worked):
    text = get(worked.address, accept=TEXT).body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_labels_of_users_come_after_queue_and_processor(worked: Worked):
    seen = worked.seen

    [labels] = seen.series("partisan_user_mails_total")
    assert {name for name, _ in labels} == {*OWN_LABELS, "country"}
