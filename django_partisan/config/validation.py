"""The declaration of a setting: its default, the values it accepts, and a sentence that explains it.

These rules validate all settings: those of queues, observability and processors.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django_partisan.config.problems import Kind, Problem
from django_partisan.moments import LONGEST_DELAY_SECONDS


class Rule(NamedTuple):
    """A rule for accepted values: a predicate, and its description for messages."""

    accepts: Callable[[Any], bool]
    expected: str


def integer(least: int) -> Rule:
    """Return a rule that accepts integers of at least ``least``."""
    return Rule(lambda value: _is_number(value, int, least), f"an integer, at least {least}")


def seconds(least: float, most: float = LONGEST_DELAY_SECONDS) -> Rule:
    """Return a rule that accepts finite numbers from ``least`` to ``most``.

    With ``most`` infinite, the code that uses the value must limit it.
    """
    expected = f"a number of seconds, at least {least}"
    if most < math.inf:
        expected += f" and at most {most}"
    return Rule(lambda value: _is_number(value, int | float, least) and value <= most, expected)


def fits_float(number: float) -> bool:
    """Return whether a number is finite as a float; ``math.isfinite()`` raises for large integers."""
    return -sys.float_info.max <= number <= sys.float_info.max


def one_of(*words: str) -> Rule:
    """Return a rule that accepts one of ``words``."""
    return Rule(
        lambda value: isinstance(value, str) and value in words, "one of " + ", ".join(map(repr, words))
    )


def instance_of(kind: type) -> Rule:
    """Return a rule that accepts instances of a class."""
    return Rule(lambda value: isinstance(value, kind), f"an instance of {kind.__name__}")


def container(expected: str, *kinds: type) -> Rule:
    """Return a rule that accepts instances of the built-in types ``kinds``, described by ``expected``."""
    return Rule(lambda value: isinstance(value, kinds), expected)


def or_none(rule: Rule, meaning: str = "") -> Rule:
    """Return a rule that accepts ``None`` and what ``rule`` accepts; ``meaning`` explains ``None``."""
    return Rule(lambda value: value is None or rule.accepts(value), f"{rule.expected}, or None{meaning}")


BOOLEAN: Final = Rule(lambda value: isinstance(value, bool), "True or False")
EXPIRY: Final = Rule(
    lambda value: seconds(0).accepts(value) and value > 0,
    f"a number of seconds, above 0 and at most {LONGEST_DELAY_SECONDS}",
)
"""The rule for how many seconds after its due time a task expires."""
PRIORITIES: Final = range(-(2**31), 2**31)
PRIORITY: Final = Rule(lambda value: type(value) is int and value in PRIORITIES, "a 32-bit integer")
"""The rule for priorities; the column is a 32-bit integer."""


@dataclass(frozen=True)
class Setting:
    """A setting: its default, the values it accepts, its meaning, and where it can be set.

    ``meaning`` says what the value does, then the unit, then when to change it. ``option`` parses the value
    of the command-line option, if there is one. ``flat`` is true if a flat setting may set the value.
    """

    default: Any
    rule: Rule
    meaning: str
    option: Callable[[str], Any] | None = None
    flat: bool = False

    @property
    def help(self) -> str:
        """The meaning without Markdown."""
        return self.meaning.replace("`", "")

    def problems(self, kind: Kind, place: str, value: Any) -> Iterator[Problem]:
        """Yield a problem if ``value``, found at ``place``, is not accepted."""
        if not self.rule.accepts(value):
            yield Problem(kind, place, value, self.rule.expected, self.help)


def _is_number(value: Any, types: Any, least: float) -> bool:
    return isinstance(value, types) and not isinstance(value, bool) and least <= value < math.inf
