"""Run the examples of a page as modules of a project."""

import sys
import unittest
from types import ModuleType
from typing import Any

import pytest
from django.test import TestCase

from tests.support.pages import Block, blocks_of

OF_SETTINGS = "# settings.py"
NOT_FOR_A_TEST = ("INSTALLED_APPS",)


class Project:
    """A project made of snippets: one module ``partisan_tasks``, and settings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        self._settings = settings
        self.module = ModuleType("partisan_tasks")
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)

    @property
    def names(self) -> dict[str, Any]:
        """The names that the snippets have defined."""
        return self.module.__dict__

    def run(self, snippet: str, place: str = "snippet", line: int = 1) -> None:
        """Run a snippet; later snippets see what it defines."""
        code = "\n" * (line - 1) + snippet  # so that a traceback has the line number of the page
        exec(compile(code, place, "exec"), self.names)

    def configure(self, snippet: str) -> None:
        """Apply the settings that a snippet defines."""
        given: dict[str, Any] = {}
        exec(snippet, given)
        for name, value in given.items():
            if name.isupper() and name not in NOT_FOR_A_TEST:
                setattr(self._settings, name, value)

    def run_page(self, name: str, text: str) -> list[Block]:
        """Run every Python block of a page, settings first; return the blocks that are not settings."""
        blocks = [block for block in blocks_of(text) if block.kind == "python"]
        for block in blocks:
            if block.text.startswith(OF_SETTINGS):
                self.configure(block.text)
        code = [block for block in blocks if not block.text.startswith(OF_SETTINGS)]
        for block in code:
            self.run(block.text, name, block.line)
        return code

    def run_tests(self) -> unittest.TestResult:
        """Run the test cases that the snippets define."""
        result = unittest.TestResult()
        for found in list(self.names.values()):
            if isinstance(found, type) and issubclass(found, TestCase) and found is not TestCase:
                unittest.defaultTestLoader.loadTestsFromTestCase(found).run(result)
        return result
