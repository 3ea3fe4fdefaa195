import json

import pytest
from django.test import override_settings

from django_partisan.config.observability import REDACTED
from django_partisan.telemetry import redaction


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("part", REDACTED)
def test_a_key_is_secret_if_a_word_of_the_setting_is_a_part_of_it(part):
    assert redaction.is_secret(part)
    assert redaction.is_secret(f"Old-{part.upper()}_2")


@pytest.mark.parametrize(
    ("key", "is_secret"),
    [("X-Api-Key", True), *((key, False) for key in ("id", "name", "pass", "key", 7, None))],
)
def test_a_hyphen_is_an_underscore_and_other_keys_are_no_secrets(key, is_secret):
    assert redaction.is_secret(key) is is_secret


@override_settings(PARTISAN_OBSERVABILITY={"REDACT_KEYS": ["iban"]})
def test_the_setting_replaces_the_words():
    assert redaction.redact({"IBAN": 1, "password": 2}) == {"IBAN": "[redacted]", "password": 2}


def test_secrets_are_redacted_at_any_depth_and_the_value_stays_as_it_was():
    value = {"a": [{"token": "t", "b": ({"cookie": 1},)}], "session": {"deep": "x"}}

    redacted = redaction.redact(value)

    assert redacted == {
        "a": [{"token": "[redacted]", "b": [{"cookie": "[redacted]"}]}],
        "session": "[redacted]",
    }
    assert value == {"a": [{"token": "t", "b": ({"cookie": 1},)}], "session": {"deep": "x"}}


def stored(*args: object) -> str:
    return json.dumps({"args": args, "kwargs": {}})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"to": "ada", "card": {"api_key": "hunter2"}}),
        json.dumps([1, {"password": ["hunter2"]}]),
        json.dumps({"body": json.dumps({"Set-Cookie": "hunter2"})}),
        json.dumps(json.dumps({"password": "hunter2"})),
        f"POST {json.dumps({'password': 'hunter2'})} and {json.dumps({'token': 'hunter2'})} were refused",
        json.dumps({"password": "hunter2", "more": "x" * 5000})[:2000],
        "body: " + json.dumps(json.dumps({"password": "hunter2"}))[1:-1],
        str({"password": "hunter2"}),
        '{"a": {"password": "hunter2"}, "a": 1}',
        'refused: {"password": "hunter2", "password": "[redacted]"}',
    ],
    ids=["object", "list", "twice", "text", "in a text", "cut off", "escaped", "of Python", "hidden", "same"],
)
def test_secrets_in_a_string_that_holds_json_are_redacted(text):
    shown = redaction.shown_arguments(stored(text))

    assert "hunter2" not in shown
    assert "[redacted]" in shown


def test_of_a_string_that_holds_json_the_rest_stays():
    text = f'mail {json.dumps({"to": "ada", "token": "x"})} was sent to {{"nobody": 1}}'

    assert redaction.redact(text) == 'mail {"to": "ada", "token": "[redacted]"} was sent to {"nobody": 1}'


@pytest.mark.parametrize(
    "text",
    [
        '{ "to" : "ada",  "n": 1.50 }',
        '["a", "b"]',
        '"quoted"',
        '{"n": 1, "m": 2, "n": 3}',
        "Dear {name}, your session ends",
        'a {"broken": thing',
        "[" * 100_000 + '"',
    ],
)
def test_a_string_without_secrets_stays_as_it_is(text):
    assert redaction.redact(text) == text


def test_a_value_that_holds_itself_ends():
    value: list[object] = []
    value.append(value)

    assert "too deep" in redaction.shown(value)


def test_arguments_are_redacted_and_cut_to_1_kib():
    stored = json.dumps({"args": ["ü" * 2000], "kwargs": {}})

    assert len(redaction.shown_arguments(stored).encode()) <= 1024
    assert redaction.shown_arguments('{"args": [], "kwargs": {"password": "x"}}') == (
        '{"args": [], "kwargs": {"password": "[redacted]"}}'
    )


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_arguments_that_cannot_be_read_are_not_shown(text):
    assert redaction.shown_arguments(text) == "[unreadable]"


def test_a_value_that_cannot_describe_itself_is_shown_by_its_class():
    assert redaction.shown({"a": Unprintable()}) == '{"a": "[unprintable Unprintable]"}'


def test_a_cut_text_ends_in_a_mark_and_is_valid():
    assert redaction.cut("ü" * 10, 8) == "üü…"
    assert redaction.cut("ü" * 4, 8) == "ü" * 4
    assert redaction.cut("short", 1024) == "short"
