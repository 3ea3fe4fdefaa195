"""What the SDK says of failing exports: not for every batch, and not where the host listens."""

import logging

import pytest

from django_partisan.tracing import complaints


def without_handlers(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Take the handlers of root and SDK away, pytest's too, which come after fixtures; return a logger."""
    for name in ("", complaints.LOGGER):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    return logging.getLogger(f"{complaints.LOGGER}.exporter.of.a.test")


def test_the_manager_tells_each_thing_once(monkeypatch, capsys):
    exporter = without_handlers(monkeypatch)
    complaints.soften(tell=True)
    for code in (400, 400, 503):
        exporter.error("Failed to export: %s", code)
    exporter.warning("something else")
    exporter.info("nothing of note")

    assert capsys.readouterr().err == "OpenTelemetry: Failed to export: 400\nOpenTelemetry: something else\n"


def test_workers_tell_nothing(monkeypatch, capsys):
    exporter = without_handlers(monkeypatch)
    complaints.soften(tell=False)
    exporter.error("Failed to export")

    assert capsys.readouterr().err == ""


def test_a_minute_later_it_is_told_again():
    clock = iter((0.0, 59.0, 60.0))
    once = complaints.OnceAMinute(lambda: next(clock))
    record = logging.LogRecord("opentelemetry", logging.ERROR, "", 0, "Failed", (), None)

    assert [once.filter(record) for _ in range(3)] == [True, False, True]


@pytest.mark.parametrize("name", ["", complaints.LOGGER])
def test_where_the_host_listens_it_hears_everything(monkeypatch, capsys, name):
    exporter = without_handlers(monkeypatch)
    heard = logging.NullHandler()
    logging.getLogger(name).addHandler(heard)
    complaints.soften(tell=True)
    exporter.error("Failed to export")

    assert capsys.readouterr().err == ""
    assert logging.getLogger(complaints.LOGGER).handlers == ([heard] if name else [])
