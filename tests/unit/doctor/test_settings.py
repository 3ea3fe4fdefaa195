"""Wrong settings are found with their cure."""

from django.test import override_settings

from django_partisan.doctor import settings
from django_partisan.doctor.finding import ERROR, FINE, WARNING


@override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}})
def test_right_settings_are_fine(subject):
    [finding] = settings.look(subject)

    assert finding.status == FINE
    assert "default, mail" in finding.message


@override_settings(PARTISAN_CONFIG={"default": {"WORKERS": 3}})
def test_an_unknown_key_is_an_error_with_its_id_and_a_cure(subject):
    [finding] = settings.look(subject)

    assert finding.status == ERROR
    assert "partisan.E003" in finding.message
    assert finding.cure == "Correct the key, or remove it."


@override_settings(PARTISAN_CONFIG={"mail": {}}, PARTISAN_OBSERVABILITY={"METRICS_PORT": 9464})
def test_a_shared_port_is_a_warning(subject):
    [finding] = settings.look(subject)

    assert finding.status == WARNING
    assert "partisan.W001" in finding.message


@override_settings(
    PARTISAN_CONFIG={"mail": {}},
    PARTISAN_OBSERVABILITY={"METRICS_PORT": 9464},
    SILENCED_SYSTEM_CHECKS=["partisan.W001"],
)
def test_what_is_silenced_is_not_told(subject):
    [finding] = settings.look(subject)

    assert finding.status == FINE


def test_an_unknown_queue_is_an_error(subject):
    [finding] = settings.look(subject._replace(queue="nope"))

    assert finding.status == ERROR
    assert "Unknown queue 'nope'" in finding.message
