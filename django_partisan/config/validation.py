"""What a setting is: its default, the values it accepts, and the sentence that explains it.

Settings of queues, of observability and of processors are all validated by the rules below.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django_partisan.config.problems import Kind, Problem
from django_partisan.moments import LONGEST_DELAY_SECONDS


class Rule(NamedTuple):
    """Which values are accepted: a function, and the words that say the same."""

    accepts: Callable[[Any], bool]
    expected: str


def integer(least: int) -> Rule:
    """Accept integers from ``least``."""
    return Rule(lambda value: _is_number(value, int, least), f"an integer, at least {least}")


def seconds(least: float, most: float = LONGEST_DELAY_SECONDS) -> Rule:
    """Accept finite numbers from ``least`` to ``most``; without a limit, whoever uses one limits it."""
    expected = f"a number of seconds, at least {least}"
    if most < math.inf:
        expected += f" and at most {most}"
    return Rule(lambda value: _is_number(value, int | float, least) and value <= most, expected)


def fits_float(number: float) -> bool:
    """Return whether a number is finite as a float; for large integers ``math.isfinite()`` raises."""
    return -sys.float_info.max <= number <= sys.float_info.max


def one_of(*words: str) -> Rule:
    """Accept some words."""
    return Rule(
        lambda value: isinstance(value, str) and value in words, "one of " + ", ".join(map(repr, words))
    )


def instance_of(kind: type) -> Rule:
    """Accept the instances of a class."""
    return Rule(lambda value: isinstance(value, kind), f"an instance of {kind.__name__}")


def container(expected: str, *kinds: type) -> Rule:
    """Accept the instances of one of some built-in types, which ``expected`` names."""
    return Rule(lambda value: isinstance(value, kinds), expected)


def or_none(rule: Rule, meaning: str = "") -> Rule:
    """Accept ``None`` beside what ``rule`` accepts."""
    return Rule(lambda value: value is None or rule.accepts(value), f"{rule.expected}, or None{meaning}")


BOOLEAN: Final = Rule(lambda value: isinstance(value, bool), "True or False")
EXPIRY: Final = Rule(
    lambda value: seconds(0).accepts(value) and value > 0,
    f"a number of seconds, above 0 and at most {LONGEST_DELAY_SECONDS}",
)
"""How many seconds after it is due a task may expire."""
PRIORITIES: Final = range(-(2**31), 2**31)
PRIORITY: Final = Rule(lambda value: type(value) is int and value in PRIORITIES, "an integer of 32 bits")
"""Which priorities the column holds."""


@dataclass(frozen=True)
class Setting:
    """A setting: its default, what it accepts, what it does, and how it may be given.

    ``meaning`` says what the value does, then the unit, then when to change it. ``option`` reads the value
    of the command line's option, if there is one; ``flat`` is true if a flat name may give the value.
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
        """Yield a problem if ``value``, which stands at ``place``, is not accepted."""
        if not self.rule.accepts(value):
            yield Problem(kind, place, value, self.rule.expected, self.help)


def _is_number(value: Any, types: Any, least: float) -> bool:
    return isinstance(value, types) and not isinstance(value, bool) and least <= value < math.inf
