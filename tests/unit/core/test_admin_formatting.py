"""Durations as the admin shows them."""

import pytest

from django_partisan.admin_formatting import duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.25, "250\xa0ms"),
        (1.5, "1.5\xa0s"),
        (125, "2\xa0min 5\xa0s"),
        (7500, "2\xa0h 5\xa0min"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, shown: str):
    assert duration(seconds) == shown
