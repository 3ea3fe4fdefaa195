"""A variant of `peer.json` sets the settings that it describes."""

import pytest

from bench.plan import VARIANTS
from bench.variant import Variant, environments


def test_every_variant_carries_its_own_name():
    named = {name: Variant.from_environment(environment).name for name, environment in environments().items()}

    assert named == {name: name for name in named}


def test_tuned_is_what_the_goals_are_stated_for_and_default_leaves_the_library_its_defaults():
    default = Variant.from_environment(environments()["default"])
    tuned = Variant.from_environment(environments()["tuned"])

    assert tuned.queue_settings() == {
        "WORKERS_COUNT": 2,
        "MIN_QUEUE_SIZE": 2000,
        "MAX_QUEUE_SIZE": 4000,
        "DELETE_TASKS_ON_COMPLETE": True,
    }
    assert not any([tuned.metrics, tuned.full, tuned.unique])
    assert default.queue_settings() == {"WORKERS_COUNT": 2}


@pytest.mark.parametrize("scenario", VARIANTS)
def test_the_planned_variants_exist(scenario):
    assert set(VARIANTS[scenario]) <= set(environments())
