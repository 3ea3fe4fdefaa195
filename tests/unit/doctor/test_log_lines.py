"""Where log lines are written, and whether they arrive complete."""

import logging
import os
from collections.abc import Iterator

import pytest
from django.test import override_settings

from django_partisan.doctor import log_lines
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding
from django_partisan.exceptions import CannotStart
from django_partisan.logs.subscriber import LOGGER


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return our logger; its level is restored after the test."""
    ours = logging.getLogger(LOGGER)
    before = ours.level
    yield ours
    ours.setLevel(before)


@pytest.fixture
def check(subject):
    """Return a function that returns the findings for some options."""

    def check(**options) -> list[Finding]:
        return list(log_lines.check(subject._replace(**{"log_format": "ecs"} | options)))

    return check


def test_a_format_is_fine_and_the_service_named(check, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    assert check() == [
        Finding(FINE, "Log lines go to standard output in the format ecs; service.name is 'shop'.")
    ]


def test_a_file_with_the_hosts_format_is_refused_as_by_a_manager(check):
    with pytest.raises(CannotStart, match="--log-file cannot be used"):
        check(log_format="host", log_file="a.log")


def test_a_level_above_info_hides_completed_tasks(check, logger):
    logger.setLevel(logging.WARNING)

    _, finding = check(log_format="host")

    assert finding.status == WARNING
    assert "at WARNING" in finding.message


def test_without_a_level_of_its_own_the_logger_gets_info_in_a_manager(check, logger):
    logger.setLevel(logging.NOTSET)

    assert [finding.status for finding in check()] == [FINE]


def test_a_file_that_can_be_written_is_fine_and_not_made(check, tmp_path):
    path = tmp_path / "a.log"

    [finding] = check(log_file=str(path))

    assert str(path) in finding.message
    assert not path.exists()


def test_a_file_in_no_folder_is_an_error(check, tmp_path):
    _, finding = check(log_file=str(tmp_path / "none" / "a.log"))

    assert finding.status == ERROR


def test_a_file_that_exists_is_asked_itself(check, tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    path.touch()
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != path)

    _, finding = check(log_file=str(path))

    assert finding.message == f"{path} is not writable by this user."


@override_settings(PARTISAN_OBSERVABILITY={"LOG_MAX_LINE_BYTES": 9000})
def test_lines_that_break_on_a_pipe_are_a_warning(check):
    _, finding = check(log_format="json")

    assert finding.status == WARNING
    assert "LOG_MAX_LINE_BYTES is 9000" in finding.message
