"""Tables, settings, options, checks and reasons on the pages match the code."""

import re
from argparse import ArgumentParser

import pytest
from django.core.management import load_command_class

from django_partisan import outcomes, pytest_plugin
from django_partisan.config import observability, queue_keys
from django_partisan.config.validation import Setting
from django_partisan.logs import running_task
from django_partisan.metrics import catalogue
from django_partisan.models import Task
from django_partisan.tracing import spans
from tests.support.commands import ROOT
from tests.support.pages import PAGES, anchors_of, blocks_of, code_in, first_cells_below, name_of, page
from tools.document_tables import commands, pages, tables

PACKAGE = ROOT / "django_partisan"
# Options of docker, systemd, Django, Prometheus, the benchmarks and our tools.
OF_OTHER_PROGRAMS = {
    "--batch", "--check", "--config", "--cpus", "--database", "--deploy", "--durable", "--email",
    "--enable-feature", "--fail-level", "--help", "--init", "--interval", "--managers", "--max-tasks", "--n",
    "--no-deps", "--noinput", "--nomigrations", "--noreload", "--now", "--property", "--reps", "--rows",
    "--scenarios", "--since", "--sort", "--storage", "--tag", "--unit", "--update-aliases", "--username",
    "--variants", "--web",
}  # fmt: skip


def test_the_tables_are_those_that_the_code_makes():
    assert list(pages.out_of_date()) == [], "run: python -m tools.document_tables"


def test_each_table_that_can_be_made_stands_on_a_page():
    standing = [name for path in PAGES for name in pages.tables_of(path.read_text())]

    assert sorted(standing) == sorted(tables.TABLES)


def test_a_table_that_differs_is_made_anew_and_the_page_around_it_stays():
    text = page("docs/settings.md")
    stale = text.replace("| `MAX_CRASHES` | `3` |", "| `MAX_CRASHES` | `4` |")

    assert stale != text
    assert pages.with_tables(stale) == text


@pytest.mark.parametrize(("key", "setting"), [*queue_keys.KEYS.items(), *observability.KEYS.items()])
def test_the_text_of_each_setting_says_when_to_change_it(key: str, setting: Setting):
    advice = r"[.;] (Set|Raise|Lower|Change|Extend|Turn) (it|them|the default)\b.* (if|behind|together with) "

    assert re.search(advice, setting.meaning), key


def test_the_page_on_commands_has_a_section_for_each_and_the_help_of_all_but_one():
    known = {path.stem for path in (PACKAGE / "management" / "commands").glob("[a-z]*.py")}
    text = page("docs/commands.md")

    assert known <= anchors_of(text)
    assert {name.replace("_", "-") for name in known - {commands.START}} <= set(pages.tables_of(text))


def test_the_page_on_errors_lists_every_reason_of_a_failure():
    listed = set(first_cells_below("## Why a task failed", page("docs/errors.md")))

    assert listed == {*outcomes.FAILURE_REASONS, *outcomes.REASONS_TO_NAME}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_option_that_is_named_exists(path, parser: ArgumentParser):
    text = path.read_text()
    code = [*code_in(text), *(block.text for block in blocks_of(text) if block.kind in ("console", "ini"))]
    named = {option for piece in code for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", piece)}
    others = [load_command_class("django_partisan", name).create_parser("", name) for name in commands.OTHERS]
    actions = [action for each in (parser, *others) for action in each._actions]
    known = {option for action in actions for option in action.option_strings}

    assert named - OF_OTHER_PROGRAMS <= known


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_metric_and_index_that_is_named_exists(path):
    named = {
        name
        for piece in code_in(path.read_text())
        for name in re.findall(r"\bpartisan_(?!user_)[a-z_]+\b(?!\.)", piece)
    }
    known = {name + suffix for name in catalogue.METRICS for suffix in ("", "_bucket", "_sum", "_count")}
    known |= set(running_task.KEYS)
    known |= {name for name in vars(pytest_plugin) if name.startswith("partisan_")}
    known |= {index.name for index in [*Task._meta.indexes, *Task._meta.constraints]} | set(commands.OTHERS)

    assert named - known == set()


def test_the_page_on_observability_has_every_metric_span_and_attribute():
    code = set(code_in(page("docs/observability.md")))

    assert set(catalogue.METRICS) <= code
    assert {attribute.name for attribute in spans.ATTRIBUTES} <= code
