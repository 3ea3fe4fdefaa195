"""One check that breaks, or has no chance, hides no other."""

import pytest

from django_partisan.doctor import examination
from django_partisan.doctor.examination import Check, examine
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, Finding


def of(name: str, status: str, *needs: str) -> Check:
    return Check(name, lambda subject: iter([Finding(name, status, "said")]), needs)


def broken(subject):
    raise RuntimeError("a\n  mess")


def test_a_check_that_breaks_is_an_error_and_the_next_is_done(monkeypatch, subject):
    monkeypatch.setattr(examination, "CHECKS", (Check("one", broken), of("two", FINE)))

    one, two = examine(subject)

    assert one == Finding("one", ERROR, "Could not be looked at: RuntimeError: a mess")
    assert two.status == FINE


@pytest.mark.parametrize(("status", "expected"), [(ERROR, SKIPPED), (FINE, FINE)])
def test_a_check_without_what_it_needs_is_skipped(monkeypatch, subject, status, expected):
    monkeypatch.setattr(examination, "CHECKS", (of("one", status), of("two", FINE, "one")))

    _, two = examine(subject)

    assert two.status == expected


def test_what_is_needed_comes_before():
    done: set[str] = set()
    for check in examination.CHECKS:
        assert set(check.needs) <= done
        done.add(check.name)
    assert len(done) == len(examination.CHECKS) == 11
