"""A control notification makes one component look; a notification that is not understood is ignored."""

import json
from typing import Any

import pytest

from django_partisan.engine.manager.controls import Controls


class Component:
    def __init__(self) -> None:
        self.reads = 0

    def read_now(self) -> None:
        self.reads += 1


class Harness:
    """Two components of a manager of the queue ``mail``."""

    def __init__(self, schema: str = "public") -> None:
        self.pause, self.cancel = Component(), Component()
        self.controls = Controls("mail", schema, {"pause": self.pause, "cancel": self.cancel})

    @property
    def reads(self) -> tuple[int, int]:
        return self.pause.reads, self.cancel.reads


def payload(**changed: Any) -> str:
    return json.dumps({"v": 1, "schema": "public", "queue": "mail", "look": "pause", **changed})


def test_the_component_looks_that_is_named():
    harness = Harness()

    harness.controls.notified({payload(), payload(by="a later version")})
    harness.controls.notified({payload(look="cancel"), payload(queue="images")})

    assert harness.reads == (1, 1)


@pytest.mark.parametrize(
    "ignored",
    [
        payload(v=2),
        payload(look="schedule"),
        payload(look=["pause"]),
        payload(queue="images"),
        payload(queue=None),
        payload(schema="tenant"),
        "{",
        "mail",
        "[" * 4000,
        "[1]",
        "{}",
    ],
)
def test_what_is_for_others_or_not_understood_is_ignored(ignored):
    harness = Harness()

    harness.controls.notified({ignored})

    assert harness.reads == (0, 0)


def test_all_look_when_notifications_may_have_been_missed():
    harness = Harness()

    harness.controls.notified(None)

    assert harness.reads == (1, 1)


def test_a_manager_that_does_not_know_its_schema_takes_any():
    harness = Harness(schema="")

    harness.controls.notified({payload(schema="tenant")})

    assert harness.reads == (1, 0)
