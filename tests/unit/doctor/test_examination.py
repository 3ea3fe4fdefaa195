"""A check that breaks or is skipped does not hide others; the worst finding counts."""

from collections.abc import Iterator

import pytest

from django_partisan.doctor.examination import CHECKS, Check, examine
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, Subject, worst
from django_partisan.exceptions import CannotStart


def finds(status: str, *needs: str) -> Check:
    return Check(lambda subject: iter([Finding(status, "found")]), needs)


def breaks(error: Exception) -> Check:
    def check(subject: Subject) -> Iterator[Finding]:
        yield Finding(FINE, "so far")
        raise error

    return Check(check)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("a\n  mess"), Finding(ERROR, "The check failed: RuntimeError: a mess", "", "one")),
        (CannotStart("No.", "Do."), Finding(ERROR, "No.", "Do.", "one")),
    ],
)
def test_a_check_that_breaks_is_an_error_and_the_next_is_done(subject, error, expected):
    findings = examine(subject, {"one": breaks(error), "two": finds(FINE)})

    assert findings == [Finding(FINE, "so far", "", "one"), expected, Finding(FINE, "found", "", "two")]


@pytest.mark.parametrize(("status", "expected"), [(ERROR, SKIPPED), (WARNING, FINE), (FINE, FINE)])
def test_a_check_is_skipped_if_one_that_it_needs_found_an_error(subject, status, expected):
    _, two = examine(subject, {"one": finds(status), "two": finds(FINE, "one")})

    assert two.status == expected


def test_what_is_needed_comes_before():
    names = list(CHECKS)

    assert all(names.index(need) < names.index(name) for name in names for need in CHECKS[name].needs)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([], FINE), ([FINE, SKIPPED], SKIPPED), ([WARNING, FINE], WARNING), ([WARNING, ERROR, SKIPPED], ERROR)],
)
def test_the_worst_finding_counts(statuses, expected):
    assert worst([Finding(status, "found") for status in statuses]) == expected
