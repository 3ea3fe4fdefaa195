"""Processors without a time limit are listed, but are not an error."""

import math

import pytest

from django_partisan import registry
from django_partisan.doctor import time_limits
from django_partisan.doctor.finding import FINE
from django_partisan.processor import BaseTaskProcessor

pytestmark = pytest.mark.usefixtures("own_registry")


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        pass


def register(name: str, **attributes: object) -> None:
    registry.register(type(name, (Letter,), attributes))


def test_a_queue_whose_processors_all_have_a_limit_is_fine(subject, settings):
    register("Quick", TIMEOUT_SECONDS=3)
    register("Elsewhere", QUEUE_NAME="mail")

    [finding] = time_limits.check(subject)

    assert (finding.status, finding.message) == (
        FINE,
        "Every processor of the queue 'default' has a time limit.",
    )


def test_processors_without_a_limit_are_named_some_of_them(subject, settings):
    settings.PARTISAN_CONFIG = {"default": {"DEFAULT_TIMEOUT_SECONDS": None}}
    for number in range(12):
        register(f"P{number:02}", TIMEOUT_SECONDS=None)
    register("Endless", TIMEOUT_SECONDS=math.inf)

    [finding] = time_limits.check(subject)

    assert finding.status == FINE
    assert "Endless, P00, P01, P02" in finding.message
    assert finding.message.endswith("P08 and 3 more.")


def test_the_limit_of_the_queue_counts(subject, settings):
    settings.PARTISAN_CONFIG = {"default": {"DEFAULT_TIMEOUT_SECONDS": 60}}
    register("Memo")
    register("Endless", TIMEOUT_SECONDS=math.inf)

    [finding] = time_limits.check(subject)

    assert finding.message.endswith("which is allowed: Endless.")
