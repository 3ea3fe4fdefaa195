"""One ECS line: what every line contains, how it is cut, and how unusual records are formatted."""

import json
import logging
import os
import re
from datetime import datetime, timezone
from typing import Any

import ecs_logging
import pytest
import structlog
from django.test import override_settings

from django_partisan.logs import LOG_EVENTS
from django_partisan.logs.ecs import RECORD_FIELDS, EcsFormatter, NestedFormatter
from django_partisan.logs.fields import COMMON
from django_partisan.logs.handlers import AppendingHandler
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.queues import ClaimFailed
from django_partisan.telemetry.events.runs import TaskCompleted, TaskRetried
from tests.unit.elk import files
from tests.unit.logs import samples
from tests.unit.logs.conftest import flat

HEAD = ("@timestamp", "log.level", "message", "ecs.version", "log.logger", "process.pid", "process.name")
TYPES = {"keyword": str, "text": str, "wildcard": str, "date": str, "long": int, "boolean": bool}
SAMPLES = [*((event, True) for event in samples.FULL), *((event, False) for event in samples.BARE)]
"""Events, and whether all optional values are present."""


def record(message: str = "hello", level: int = logging.INFO, extra: Any = None) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "django_partisan.worker", "msg": message, "levelno": level})
    made.levelname = logging.getLevelName(level)
    vars(made).update(extra or {})
    return made


def fields_of(event: Any) -> dict[str, Any]:
    return LOG_EVENTS[type(event)].line(event)[1]


def type_of(value: Any) -> type:
    """Return the type of a value, or the common type of the values in a list."""
    (found,) = {type(each) for each in value} or {str} if isinstance(value, list) else {type(value)}
    return found


@override_settings(PARTISAN_OBSERVABILITY={"LOG_TASK_ARGS": True})
@pytest.mark.parametrize(("event", "is_full"), SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_line_has_exactly_the_fields_of_its_event_and_a_message_of_one_line(lines, event, is_full):
    log_event = LOG_EVENTS[type(event)]
    common = [field for field in COMMON if not field.optional or field.name == "event.action"]
    declared = [field for field in log_event.fields if is_full or not field.optional]

    bus.emit(type(event), *event)

    (line,) = lines()
    assert {name: type_of(value) for name, value in line.items()} == {
        field.name: TYPES[field.type] for field in (*common, *declared)
    }
    assert line["event.action"] == log_event.action
    assert line["log.level"] == logging.getLevelName(log_event.level_of(event)).lower()
    assert len(line["message"]) > 10
    assert not re.search("\n|None", line["message"])


@pytest.mark.parametrize("recipe", ["filebeat.yml", "filebeat-to-logstash.yml"])
def test_the_shortest_line_is_long_enough_for_filebeat_to_tell_files_apart(lines, log_file, recipe):
    [source] = files.read_yaml(f"filebeat/{recipe}")["filebeat.inputs"]
    for event in samples.BARE:
        bus.emit(type(event), *event)

    written = log_file.read_bytes().splitlines()

    assert len(written) == len(samples.BARE)
    assert source["prospector.scanner.fingerprint.length"] <= min(map(len, written))


def test_a_completed_task_is_logged_in_one_canonical_line(lines):
    bus.emit(TaskCompleted, samples.RUN, 0.5)

    (line,) = lines()
    assert tuple(line)[:7] == HEAD, "as ecs-logging asks"
    assert datetime.fromisoformat(line.pop("@timestamp").replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    assert line.pop("event.id")
    assert line == {
        "log.level": "info",
        "message": "Task 12 (SendMail) completed in 0.500 s",
        "ecs.version": "9.4.0",
        "log.logger": "django_partisan.worker",
        "process.pid": os.getpid(),
        "process.name": "MainProcess",
        "event.kind": "event",
        "event.module": "partisan",
        "event.dataset": "partisan.events",
        "event.action": "task.completed",
        "event.outcome": "success",
        "event.duration": 500_000_000,
        "partisan.queue.name": "default",
        "partisan.task.id": "12",
        "partisan.processor": "SendMail",
        "partisan.task.priority": 10,
        "partisan.task.attempt": 2,
        "partisan.task.retries": 1,
        "partisan.task.postpones": 0,
        "partisan.worker.slot": 3,
        "partisan.worker.generation": 4,
        "partisan.task.wait_ns": 250_000_000,
        "partisan.task.enqueued_trace_id": samples.TRACE_ID,
    }


def test_no_two_lines_share_an_id(lines):
    for _ in range(50):
        bus.emit(TaskCompleted, samples.RUN, 0.5)

    assert len({line["event.id"] for line in lines()}) == 50


def test_a_line_equals_ecs_loggings_on_the_fields_they_share():
    made = record('wörds and "quotes"\n', logging.WARNING)
    made.exc_info = _raised(ValueError("bad"))
    ours = json.loads(EcsFormatter(100_000).format(made))
    theirs = flat(json.loads(ecs_logging.StdlibFormatter().format(made)))
    shared = {name for name in ours.keys() & theirs.keys() if name != "ecs.version"}

    assert shared == {*HEAD, "error.type", "error.message", "error.stack_trace"} - {"ecs.version"}
    assert theirs.pop("error.stack_trace") in ours.pop("error.stack_trace")  # ours also names the exception
    assert {name: ours.get(name) for name in shared} == {name: theirs.get(name) for name in shared}


def test_a_line_equals_ecs_loggings_structlog_line_on_all_fields_of_an_event():
    fields = fields_of(samples.FULL[7])
    ours = json.loads(EcsFormatter(100_000).format(record("hello", extra={RECORD_FIELDS: dict(fields)})))
    theirs = flat(json.loads(ecs_logging.StructlogFormatter()(None, "info", {"event": "hello", **fields})))

    for name in (*fields, "message", "log.level"):
        assert ours[name] == theirs[name], name


def test_nested_json_has_the_same_fields():
    fields = fields_of(samples.FULL[7])
    made = record("hello", extra={RECORD_FIELDS: fields})
    nested = json.loads(NestedFormatter().format(made))

    assert nested["partisan"]["task"]["id"] == "12"
    assert flat(nested) == json.loads(EcsFormatter().format(made))


@pytest.mark.parametrize("formatter", [EcsFormatter, NestedFormatter])
@pytest.mark.parametrize("character", ["x", "ü", "\x01", "\ud800", "😀", '"'])
def test_a_long_stack_trace_is_cut_in_the_middle_so_that_the_line_fits(formatter, character):
    trace = "the beginning\n" + character * 9000 + "\nthe end"
    error = samples.ERROR._replace(stack_trace=trace, message=character * 100)
    fields = fields_of(TaskRetried(samples.RUN, 0.5, 3.0, 2, error))
    line = formatter(4000).format(record("m", logging.WARNING, extra={RECORD_FIELDS: fields})) + "\n"
    kept = flat(json.loads(line))["error.stack_trace"]

    assert 3300 < len(line.encode("utf-8", "replace")) <= 4000
    assert kept.startswith("the beginning")
    assert kept.endswith("the end")
    assert "\n[…]\n" in kept


def test_a_stack_trace_of_megabytes_is_cut_quickly():
    error = samples.ERROR._replace(stack_trace="x" * 20_000_000)
    fields = fields_of(ClaimFailed("default", error))

    assert len(EcsFormatter(4000).format(record(extra={RECORD_FIELDS: fields}))) < 4000


def test_labels_go_before_a_line_is_too_long():
    fields = {f"labels.{number}": "x" * 1000 for number in range(20)}
    line = EcsFormatter(4000).format(record("hello", extra={RECORD_FIELDS: {"event.action": "a", **fields}}))

    assert {name: value for name, value in json.loads(line).items() if name.startswith("labels.")} == {
        "labels.truncated": "true"
    }


def test_a_stack_trace_is_kept_when_labels_go():
    fields = {f"labels.{number}": "x" * 1000 for number in range(4)}
    line = EcsFormatter(4000).format(record(extra={RECORD_FIELDS: {"error.stack_trace": "trace", **fields}}))

    assert json.loads(line)["error.stack_trace"] == "trace"
    assert json.loads(line)["labels.truncated"] == "true"


def test_long_values_are_cut_when_nothing_else_is_left():
    fields = {"event.action": "a", "event.reason": "x" * 9000, "partisan.claim.task_ids": ["1"] * 100}
    line = json.loads(EcsFormatter(4000).format(record("m" * 9000, extra={RECORD_FIELDS: fields})))

    assert line["event.action"] == "a"
    assert len(line["event.reason"]) < 300
    assert line["partisan.claim.task_ids"] == ["1"] * 10


def test_the_name_of_an_event_is_left_when_even_that_is_too_long():
    fields = {
        "event.action": "a",
        "partisan.task.id": "12",
        **{f"partisan.{n}": "x" * 200 for n in range(50)},
    }
    text = EcsFormatter(2048).format(record("\x01" * 9000, extra={RECORD_FIELDS: fields}))

    assert len(text) < 2048
    assert json.loads(text).keys() == {*HEAD, *json.loads(text).keys()}
    assert json.loads(text)["event.action"] == "a"
    assert json.loads(text)["partisan.task.id"] == "12"
    assert "partisan.1" not in json.loads(text)


def test_what_a_host_gives_is_a_label_unless_the_table_knows_it():
    extra = {"request_id": "r1", "log.level": "odd", "labels.a.b": 1, "trace.id": "0af7", "event.id": "e1"}
    line = json.loads(EcsFormatter().format(record(extra=extra)))

    assert line["labels.request_id"] == "r1"
    assert line["labels.a_b"] == "1"
    assert (line["log.level"], line["trace.id"], line["event.id"]) == ("info", "0af7", "e1")


def test_a_line_of_anybody_else_has_an_id_too():
    assert json.loads(EcsFormatter().format(record()))["event.id"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(float("nan"), "nan"), (1.5, 1.5), (None, None), ((1, "a"), [1, "a"]), (object, repr(object))],
)
def test_an_odd_value_is_valid_json(value, written):
    line = EcsFormatter().format(record(extra={"event.duration": value}))

    assert json.loads(line, parse_constant=pytest.fail)["event.duration"] == written


def test_a_lone_surrogate_is_written_as_valid_utf_8(tmp_path):
    handler = AppendingHandler(tmp_path / "a.log")
    handler.setFormatter(EcsFormatter())

    handler.handle(record("half \ud83d a character\0"))
    handler.close()

    assert json.loads(handler.path.read_text())["message"] == "half ? a character\0"


@pytest.mark.parametrize("key", ["name", "error", "message", "args", "event", "msg", "level", "a.b", "", "ü"])
def test_context_of_any_name_becomes_a_label(lines, key):
    structlog.contextvars.bind_contextvars(**{key: 1})

    bus.emit(TaskCompleted, samples.RUN, 0.5)

    assert lines()[0][f"labels.{key.replace('.', '_') or '_'}"] == "1"
    assert swallowed.counts["logs"] == 0


def test_a_record_of_an_exception_has_the_fields_of_an_error():
    made = record()
    made.exc_info = _raised(KeyError("k"))
    line = json.loads(EcsFormatter().format(made))

    assert (line["error.type"], line["error.message"]) == ("KeyError", "'k'")
    assert "Traceback" in line["error.stack_trace"]


def test_an_empty_exc_info_is_no_error():
    made = record()
    made.exc_info = (None, None, None)

    assert "error.type" not in json.loads(EcsFormatter().format(made))


def test_the_service_stands_in_every_line(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1.2,deployment.environment.name=prod")
    line = json.loads(EcsFormatter().format(record()))

    assert (line["service.name"], line["service.version"], line["service.environment"]) == (
        "shop",
        "1.2",
        "prod",
    )


def _raised(error: Exception) -> Any:
    try:
        raise error
    except Exception as raised:
        return type(raised), raised, raised.__traceback__


@override_settings(PARTISAN_OBSERVABILITY={"REDACT_KEYS": 5})
def test_a_line_of_the_project_without_labels_needs_no_setting():
    line = json.loads(EcsFormatter().format(record("before django.setup()")))

    assert line["message"] == "before django.setup()"
