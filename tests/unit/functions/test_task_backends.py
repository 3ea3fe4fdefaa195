"""Which backends in ``TASKS`` are ours, and which queues they list."""

from typing import Any

import pytest

from django_partisan import retention
from django_partisan.config import queues, task_backends
from django_partisan.exceptions import UnknownQueue

OURS = "django_partisan.backend.PartisanBackend"


@pytest.mark.parametrize(
    "tasks",
    [
        None,
        {},
        {"default": None},
        {"default": {}},
        {"default": {"BACKEND": 5}},
        {"default": {"BACKEND": "no.such.Backend"}},
        {"default": {"BACKEND": "collections.OrderedDict"}},
    ],
)
def test_where_no_backend_is_ours_its_queues_are_none_of_ours(tasks: Any, settings: Any):
    settings.TASKS = tasks

    assert task_backends.partisan_backends() == {}
    assert not task_backends.allow_every_queue()
    assert queues.queue_names() == ["default"]


def test_the_queues_of_our_backends_exist(settings: Any):
    settings.TASKS = {
        "default": {"BACKEND": OURS, "QUEUES": ["default", "mail"]},
        "other": {"BACKEND": "collections.OrderedDict", "QUEUES": ["elsewhere"]},
    }
    settings.PARTISAN_CONFIG = {"reports": {}}

    assert sorted(queues.queue_names()) == ["default", "mail", "reports"]
    assert sorted(queues.named_queues()) == ["default", "mail", "reports"]
    with pytest.raises(UnknownQueue, match="elsewhere"):
        queues.check_queue_name("elsewhere")


def test_a_backend_that_lists_no_queues_has_the_default_one_and_does_not_name_it(settings: Any):
    settings.PARTISAN_CONFIG = {"mail": {}}
    settings.TASKS = {"default": {"BACKEND": OURS}}

    assert task_backends.queue_names() == ["default"]
    assert queues.queue_names() == ["default", "mail"]
    assert retention.queues_of_manager("mail") == ("mail",)  # the rows of "default" may be another project's


def test_of_settings_that_name_no_queue_the_default_one_is_pruned(settings: Any):
    settings.PARTISAN_CONFIG = {}
    settings.TASKS = {"default": {"BACKEND": OURS}}

    assert retention.queues_of_project() == retention.queues_of_manager("default") == ("default",)


def test_a_backend_with_an_empty_list_of_queues_allows_every_name(settings: Any):
    settings.TASKS = {"default": {"BACKEND": OURS, "QUEUES": []}}

    queues.check_queue_name("elsewhere")
