"""What an arrived or missing notification means."""

from typing import Any

import pytest

from django_partisan.doctor import notifications
from django_partisan.doctor.finding import FINE, WARNING, Finding

UNUSED = {"LISTEN": False}


@pytest.fixture
def judge(settings: Any) -> Any:
    """Return a function that returns the findings for a queue's settings."""

    def judge(
        own: dict[str, Any], arrived: bool, pooled: bool = False, without_cursors: bool = False
    ) -> list[Finding]:
        settings.PARTISAN_CONFIG = {"default": own}
        return list(notifications.judge("default", arrived, pooled, without_cursors))

    return judge


def test_a_lost_notification_is_a_warning_with_what_it_costs(judge):
    [finding] = judge({"SLEEP_DELAY_SECONDS": 7}, arrived=False)

    assert finding.status == WARNING
    assert "the reason is unknown" in finding.message
    assert "wait for 7 s" in finding.message
    assert "LISTEN" in finding.remedy


@pytest.mark.parametrize(("without_cursors", "count"), [(False, 2), (True, 1)])
def test_a_pooler_in_transaction_mode_asks_for_a_setting_of_django(judge, without_cursors, count):
    findings = judge({}, arrived=False, pooled=True, without_cursors=without_cursors)

    assert [finding.status for finding in findings] == [WARNING] * count
    assert all("pooler in transaction mode" in finding.message for finding in findings)


def test_a_lost_notification_is_fine_where_no_manager_listens(judge):
    [finding] = judge(UNUSED, arrived=False)

    assert finding.status == FINE


@pytest.mark.parametrize(
    ("own", "pooled", "message"),
    [
        ({}, False, "A notification arrives."),
        ({}, True, "A notification arrives, through a pooler in session mode."),
        (UNUSED, False, "A notification arrives; LISTEN is False, so no manager waits for it."),
    ],
)
def test_it_says_through_what_a_notification_came(judge, own, pooled, message):
    assert judge(own, arrived=True, pooled=pooled) == [Finding(FINE, message)]
