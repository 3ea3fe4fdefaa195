"""The command's parser, for the tests of documentation and examples."""

from argparse import ArgumentParser

import pytest
from django.core.management import load_command_class


@pytest.fixture(scope="session")
def parser() -> ArgumentParser:
    command = load_command_class("django_partisan", "start_partisan")
    parser: ArgumentParser = command.create_parser("manage.py", "start_partisan")
    return parser
