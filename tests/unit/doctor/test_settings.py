"""Wrong settings are reported with the remedy."""

import pytest

from django_partisan.doctor import settings as settings_check
from django_partisan.doctor.finding import ERROR, FINE, WARNING

SHARED_PORT = {"PARTISAN_CONFIG": {"mail": {}}, "PARTISAN_OBSERVABILITY": {"METRICS_PORT": 9464}}


@pytest.mark.parametrize(
    ("given", "queue", "status", "said"),
    [
        ({"PARTISAN_CONFIG": {"default": {}, "mail": {}}}, "mail", FINE, "queues: default, mail."),
        ({"PARTISAN_CONFIG": {"default": {"WORKERS": 3}}}, "default", ERROR, "(partisan.E003)"),
        (SHARED_PORT, "default", WARNING, "(partisan.W001)"),
        ({**SHARED_PORT, "SILENCED_SYSTEM_CHECKS": ["partisan.W001"]}, "default", FINE, "No problem"),
        ({}, "nope", ERROR, "Unknown queue 'nope'"),
    ],
    ids=["right", "wrong", "doubtful", "silenced", "unknown queue"],
)
def test_the_system_checks_and_the_queue_are_looked_at(given, queue, status, said, subject, settings):
    for name, value in given.items():
        setattr(settings, name, value)

    [finding] = settings_check.check(subject._replace(queue=queue))

    assert finding.status == status
    assert said in finding.message


def test_a_wrong_setting_has_its_remedy(subject, settings):
    settings.PARTISAN_CONFIG = {"default": {"WORKERS": 3}}

    [finding] = settings_check.check(subject)

    assert finding.remedy == "Correct the key, or remove it."
