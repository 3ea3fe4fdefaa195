"""A real Alertmanager mutes the consequences of a cause according to the shipped file, and nothing else."""

from collections.abc import Iterator

import pytest

from tests.real_parts.monitoring import Alertmanager, Webhook
from tests.support.waiting import wait_until

OF_A_MANAGER = {"job": "partisan", "instance": "a:9100"}
ACTIVE, SUPPRESSED = "active", "suppressed"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    webhook = Webhook()
    running = Alertmanager(tmp_path_factory.mktemp("alertmanager"), webhook)
    yield running
    running.stop()
    webhook.stop()


def _becomes(alertmanager: Alertmanager, state: str, alert: str, **labels: str) -> None:
    def is_so() -> bool:
        return alertmanager.state_of(alert, **labels) == state

    wait_until(is_so, 30, f"{alert} {state}", every=0.1)


@pytest.mark.parametrize(
    ("cause", "consequence"),
    [
        ("PartisanDatabaseUnreachable", "PartisanClaimErrors"),
        ("PartisanDatabaseUnreachable", "PartisanSettleErrors"),
        ("PartisanDatabaseUnreachable", "PartisanQueueLatencyCritical"),
        ("PartisanDatabaseReadOnly", "PartisanClaimErrors"),
        ("PartisanManagerMissing", "PartisanManagerDown"),
        ("PartisanQueueLatencyCritical", "PartisanQueueLatencyHigh"),
        ("PartisanWaitObjectiveBurningFast", "PartisanWaitObjectiveBurningSlow"),
        ("PartisanClaimErrors", "PartisanFiguresMissing"),
    ],
)
def test_a_cause_mutes_its_consequence_in_its_own_queue_only(
    alertmanager: Alertmanager, cause: str, consequence: str
) -> None:
    queue = f"{cause}-{consequence}"
    causing = {"alertname": cause, **OF_A_MANAGER, "queue": queue, "severity": "critical"}
    following = {"alertname": consequence, **OF_A_MANAGER, "severity": "warning"}

    alertmanager.fire(causing, {**following, "queue": queue}, {**following, "queue": f"{queue}-other"})

    _becomes(alertmanager, SUPPRESSED, consequence, queue=queue)
    _becomes(alertmanager, ACTIVE, cause, queue=queue)
    _becomes(alertmanager, ACTIVE, consequence, queue=f"{queue}-other")


@pytest.mark.parametrize("consequence", ["PartisanScheduleLate", "PartisanScheduleNotCompleting"])
def test_a_read_only_database_mutes_alerts_about_schedules_of_its_own_job(
    alertmanager: Alertmanager, consequence: str
) -> None:
    job = f"partisan-{consequence}"
    late = {"alertname": consequence, "schedule": "nightly", "severity": "warning"}

    alertmanager.fire(
        {"alertname": "PartisanDatabaseReadOnly", **OF_A_MANAGER, "job": job, "queue": "schedules"},
        {**late, "job": job},
        {**late, "job": f"{job}-other"},
    )

    _becomes(alertmanager, SUPPRESSED, consequence, job=job)
    _becomes(alertmanager, ACTIVE, consequence, job=f"{job}-other")


def test_a_manager_that_is_not_scraped_mutes_no_other_that_is_down(alertmanager: Alertmanager) -> None:
    of_queue = {**OF_A_MANAGER, "queue": "one-dead-one-not-scraped", "severity": "warning"}

    alertmanager.fire(
        {"alertname": "PartisanManagerNotScraped", **of_queue},
        {"alertname": "PartisanManagerDown", **of_queue},
    )

    _becomes(alertmanager, ACTIVE, "PartisanManagerNotScraped", queue="one-dead-one-not-scraped")
    _becomes(alertmanager, ACTIVE, "PartisanManagerDown", queue="one-dead-one-not-scraped")


def test_crash_loops_over_several_kinds_mute_the_warning_alone(alertmanager: Alertmanager) -> None:
    looping = {"alertname": "PartisanWorkersCrashLooping", **OF_A_MANAGER, "queue": "q"}

    alertmanager.fire({**looping, "severity": "critical"}, {**looping, "severity": "warning"})

    _becomes(alertmanager, SUPPRESSED, "PartisanWorkersCrashLooping", queue="q", severity="warning")
    _becomes(alertmanager, ACTIVE, "PartisanWorkersCrashLooping", queue="q", severity="critical")


def test_rescued_tasks_mute_the_loss_of_the_spans_of_killed_workers_and_no_other_loss(
    alertmanager: Alertmanager,
) -> None:
    of_queue = {**OF_A_MANAGER, "queue": "killed-workers", "severity": "warning"}
    lost = {**of_queue, "alertname": "PartisanTelemetryDropping"}

    alertmanager.fire(
        {**of_queue, "alertname": "PartisanTasksRescued", "reason": "worker_lost"},
        {**lost, "reason": "worker_lost"},
        {**lost, "reason": "span_export_failed"},
    )

    _becomes(alertmanager, SUPPRESSED, "PartisanTelemetryDropping", **of_queue, reason="worker_lost")
    _becomes(alertmanager, ACTIVE, "PartisanTelemetryDropping", **of_queue, reason="span_export_failed")
