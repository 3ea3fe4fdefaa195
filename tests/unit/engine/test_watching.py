"""What watches a manager and its workers, as options and settings say."""

import argparse
import os
from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan import logs, tracing
from django_partisan.config import observability
from django_partisan.metrics import exporter as exporting
from django_partisan.metrics.access import CannotServe
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Snapshot
from django_partisan.telemetry.setup import manager as watching
from django_partisan.telemetry.setup import worker as watching_worker
from tests.support.engine import config_of


def spellings(name: str) -> list[str]:
    return ["--" + name.replace("_", "-")]


def options(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    watching.add_arguments(parser, spellings)
    return vars(parser.parse_args(words))


@pytest.fixture(autouse=True)
def nothing_is_adopted() -> Iterator[None]:
    yield
    observability.adopt(None)


def test_nothing_is_asked_for_by_default():
    names = ["port", "host", "certfile", "keyfile", "client_ca", "token_file"]

    assert options() == {
        **{f"metrics_{name}": None for name in names},
        "log_format": "auto",
        "log_file": None,
    }


def test_a_port_is_a_number_and_a_format_one_of_those_there_are(capsys):
    assert options("--metrics-port", "0", "--log-format", "ecs")["metrics_port"] == 0
    for wrong in (("--metrics-port", "many"), ("--log-format", "prose")):
        with pytest.raises(SystemExit):
            options(*wrong)
    said = capsys.readouterr().err
    assert "invalid int value: 'many'" in said
    assert "invalid choice: 'prose'" in said


class Exporter:
    """Note what is served; refuse if the test says so."""

    made: list["Exporter"] = []
    refusal: Exception | None = None

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.given = (positional, named)
        self.stopped = False
        self.made.append(self)

    def start(self) -> str:
        if self.refusal is not None:
            raise self.refusal
        return "http://127.0.0.1:9464"

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> type[Exporter]:
    made = type("Exporter", (Exporter,), {"made": []})
    monkeypatch.setattr(exporting, "Exporter", made)
    return made


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note for how long who watches may flush, instead of ending it for all tests."""
    noted: list[float] = []
    monkeypatch.setattr(bus, "close", noted.append)
    return noted


def no_snapshot() -> Snapshot:
    raise NotImplementedError


def watch(*words: str) -> watching.Watch:
    return watching.Watch(config_of(), options(*words))


def test_without_a_port_nothing_is_served(exporter, closed, settings):
    settings.PARTISAN_OBSERVABILITY = {"TELEMETRY_SHUTDOWN_TIMEOUT": 3}
    made = watch()

    assert made.serve(no_snapshot) is None
    made.stop()
    assert exporter.made == []
    assert closed == [3]


def test_the_port_of_the_queue_is_served_as_the_settings_say(exporter, closed, settings):
    settings.PARTISAN_OBSERVABILITY = {
        "METRICS_PORT": {"default": 9464},
        "METRICS_HOST": "::1",
        "METRICS_TOKEN_FILE": "/token",
    }
    made = watch()

    assert made.serve(no_snapshot) == "http://127.0.0.1:9464"
    [one] = exporter.made
    positional, named = one.given
    assert positional == ("default", no_snapshot, "::1", 9464)
    assert named == {"certfile": None, "keyfile": None, "client_ca": None, "token_file": "/token"}
    made.stop()
    assert one.stopped
    assert closed == [5]


def test_an_option_wins_over_its_setting(exporter, settings):
    settings.PARTISAN_OBSERVABILITY = {
        "METRICS_PORT": 9464,
        "METRICS_HOST": "::1",
        "METRICS_TOKEN_FILE": "/token",
    }
    made = watch(
        *("--metrics-port", "0", "--metrics-host", "127.0.0.2", "--metrics-token-file", "/other"),
        *("--metrics-certfile", "/c", "--metrics-keyfile", "/k", "--metrics-client-ca", "/ca"),
    )
    made.serve(no_snapshot)

    positional, named = exporter.made[0].given
    assert positional[2:] == ("127.0.0.2", 0)
    assert named == {"certfile": "/c", "keyfile": "/k", "client_ca": "/ca", "token_file": "/other"}


@pytest.mark.parametrize("required", [True, False])
def test_a_port_that_cannot_be_served_ends_the_manager_only_if_it_is_required(
    required, exporter, closed, settings
):
    settings.PARTISAN_OBSERVABILITY = {"METRICS_REQUIRED": required}
    exporter.refusal = CannotServe("taken")
    made = watch("--metrics-port", "9464")

    if required:
        with pytest.raises(CannotServe):
            made.serve(no_snapshot)
    else:
        assert made.serve(no_snapshot) is None
    made.stop()
    assert not exporter.made[0].stopped


@pytest.mark.parametrize(("words", "count"), [((), False), (("--metrics-port", "0"), True)])
def test_workers_are_told_who_watches_them(words, count, settings):
    settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}
    made = watch("--log-format", "json", "--log-file", "/log", *words)
    spec = made.spec_of_worker(2, 7)

    assert (spec.slot, spec.generation, spec.manager_pid) == (2, 7, os.getpid())
    assert spec.flush_seconds == 5
    assert spec.subscribe is not None
    path, plain = spec.subscribe
    assert path == f"{watching_worker.__name__}.{watching_worker.watch_worker.__name__}"
    assert (plain["log_format"], plain["log_file"], plain["count"]) == ("json", "/log", count)
    assert plain["settings"]["LOG_TASK_ARGS"] is True


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note what is set up, instead of setting it up for all tests."""
    noted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(logs, "setup", lambda *values: noted.append(("logs", *values)))
    monkeypatch.setattr(tracing, "setup", lambda *values: noted.append(("traces", *values)))
    return noted


def test_a_managers_process_is_watched_by_settings_looked_up_once_until_it_ends(set_up, closed, settings):
    settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}
    with watching.manager_watched(config_of(), options("--log-format", "ecs")) as made:
        settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": False}
        assert observability.value("LOG_TASK_ARGS") is True
        assert closed == []

    assert isinstance(made, watching.Watch)
    assert set_up == [("logs", "manager", "ecs", None), ("traces", "manager", "default")]
    assert closed == [5]
    assert observability.value("LOG_TASK_ARGS") is False


def test_a_manager_that_ends_with_an_error_flushes_too(set_up, closed):
    with pytest.raises(ZeroDivisionError), watching.manager_watched(config_of(), options()):
        raise ZeroDivisionError

    assert closed == [5]


@pytest.mark.parametrize("count", [True, False])
def test_a_workers_process_is_watched_as_its_manager_says(count, set_up, monkeypatch):
    subscribed: list[Any] = []
    monkeypatch.setattr(bus, "subscribe", subscribed.append)
    spec = watch().spec_of_worker(2, 7)
    settings = {**observability.resolved(), "LOG_TASK_ARGS": True}
    watching_worker.watch_worker(spec, "ecs", "/log", count, settings)

    assert set_up == [
        ("logs", "worker", "ecs", "/log"),
        ("traces", "worker", "default", os.getpid(), 2),
    ]
    assert [type(one) for one in subscribed] == [Recorder] * count
    assert observability.value("LOG_TASK_ARGS") is True
