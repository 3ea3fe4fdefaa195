"""Whether workers can start on this host, and presence files can be locked."""

import multiprocessing
import tempfile

import pytest
from django.test import override_settings

from django_partisan.config import queue_keys
from django_partisan.doctor import host
from django_partisan.doctor.finding import ERROR, FINE, WARNING


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_this_host_is_fine_and_nothing_is_left_behind(subject, tmp_path):
    assert [finding.status for finding in host.check(subject)] == [FINE, FINE, FINE]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_platform_without_the_start_method_is_an_error(subject, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["nothing"])

    method, _, _ = host.check(subject)

    assert method.status == ERROR


def test_far_more_workers_than_cores_are_a_warning(subject):
    many = 17 * queue_keys.usable_cores()
    with override_settings(PARTISAN_CONFIG={"default": {"WORKERS_COUNT": many}}):
        _, workers, _ = host.check(subject)

    assert workers.status == WARNING
    assert workers.message.startswith(f"{many} workers")


def missing(tmp_path):
    tmp_path.rmdir()


def open_to_all(tmp_path):
    (tmp_path / f"django-partisan-{tmp_path.stat().st_uid}").mkdir(mode=0o777)
    next(tmp_path.iterdir()).chmod(0o777)


@pytest.mark.parametrize("spoil", [missing, open_to_all])
def test_a_presence_folder_that_cannot_be_used_is_an_error(subject, tmp_path, spoil):
    spoil(tmp_path)

    _, _, presence = host.check(subject)

    assert presence.status == ERROR
    assert "TMPDIR" in presence.remedy
