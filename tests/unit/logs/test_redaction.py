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


@pytest.mark.parametrize("key", ["id", "name", "pass", "key", 7, None])
def test_other_keys_are_no_secrets(key):
    assert not redaction.is_secret(key)


def test_a_hyphen_is_as_good_as_an_underscore():
    assert redaction.is_secret("X-Api-Key")


@override_settings(PARTISAN_OBSERVABILITY={"REDACT_KEYS": ["iban"]})
def test_the_setting_replaces_the_words():
    assert redaction.redact({"IBAN": 1, "password": 2}) == {"IBAN": "[redacted]", "password": 2}


def test_secrets_are_redacted_at_any_depth():
    value = {"a": [{"token": "t", "b": ({"cookie": 1},)}], "session": {"deep": "x"}}

    assert redaction.redact(value) == {
        "a": [{"token": "[redacted]", "b": [{"cookie": "[redacted]"}]}],
        "session": "[redacted]",
    }


def test_the_value_itself_is_left_as_it_was():
    value = {"token": "t"}

    redaction.redact(value)

    assert value == {"token": "t"}


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
