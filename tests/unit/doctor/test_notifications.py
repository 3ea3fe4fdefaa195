"""What a notification that does not arrive means."""

from django.test import override_settings

from django_partisan.doctor import notifications
from django_partisan.doctor.finding import FINE, WARNING


def test_a_lost_notification_is_a_warning_with_what_it_costs():
    with override_settings(PARTISAN_CONFIG={"default": {"SLEEP_DELAY_SECONDS": 7}}):
        finding = notifications._lost("default", pooled=True, listens=True)

    assert finding.status == WARNING
    assert "a pooler in transaction mode" in finding.message
    assert "wait for 7 s" in finding.message
    assert "LISTEN" in finding.cure


def test_a_lost_notification_is_fine_where_nobody_listens():
    finding = notifications._lost("default", pooled=False, listens=False)

    assert finding.status == FINE
    assert "something swallows it" in finding.message


def test_it_says_through_what_a_notification_came():
    assert notifications._arrived(pooled=False, listens=True).message == "A notification arrives."
    assert "session mode" in notifications._arrived(pooled=True, listens=True).message
    assert "LISTEN is False" in notifications._arrived(pooled=False, listens=False).message
