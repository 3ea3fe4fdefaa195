"""Where log lines go, and whether they get there whole."""

import logging
import os
from collections.abc import Iterator

import pytest
from django.test import override_settings

from django_partisan.doctor import log_lines
from django_partisan.doctor.finding import ERROR, FINE, WARNING
from django_partisan.logs.subscriber import LOGGER


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Return our logger; its level is put back."""
    ours = logging.getLogger(LOGGER)
    before = ours.level
    yield ours
    ours.setLevel(before)


def test_a_format_is_fine_and_the_service_named(subject, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    [finding] = log_lines.look(subject._replace(log_format="ecs"))

    assert finding.status == FINE
    assert finding.message == "Format ecs, to standard output; service.name is 'shop'."


def test_a_file_with_the_hosts_format_is_an_error(subject, tmp_path):
    [finding] = log_lines.look(subject._replace(log_format="host", log_file=str(tmp_path / "a.log")))

    assert finding.status == ERROR


def test_a_level_above_info_hides_completed_tasks(subject, logger):
    logger.setLevel(logging.WARNING)

    _, finding = log_lines.look(subject._replace(log_format="host"))

    assert finding.status == WARNING
    assert "at WARNING" in finding.message


def test_without_a_level_of_its_own_the_logger_gets_info_in_a_manager(subject, logger):
    logger.setLevel(logging.NOTSET)

    assert [finding.status for finding in log_lines.look(subject._replace(log_format="ecs"))] == [FINE]


def test_a_file_that_can_be_written_is_fine_and_not_made(subject, tmp_path):
    path = tmp_path / "a.log"

    [finding] = log_lines.look(subject._replace(log_format="ecs", log_file=str(path)))

    assert str(path) in finding.message
    assert not path.exists()


def test_a_file_in_no_folder_is_an_error(subject, tmp_path):
    path = tmp_path / "none" / "a.log"

    _, finding = log_lines.look(subject._replace(log_format="ecs", log_file=str(path)))

    assert finding.status == ERROR


def test_a_file_that_exists_is_asked_itself(subject, tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    path.touch()
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != path)

    _, finding = log_lines.look(subject._replace(log_format="ecs", log_file=str(path)))

    assert finding.message == f"{path} cannot be written by this user."


@override_settings(PARTISAN_OBSERVABILITY={"LOG_MAX_LINE_BYTES": 9000})
def test_lines_that_a_pipe_tears_are_a_warning(subject):
    _, finding = log_lines.look(subject._replace(log_format="json"))

    assert finding.status == WARNING
    assert "LOG_MAX_LINE_BYTES is 9000" in finding.message
