"""Validate processor classes: the values that each of their attributes accepts."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from django_partisan import registry
from django_partisan.config.observability import PROPAGATIONS
from django_partisan.config.problems import UNKNOWN_QUEUE, WRONG_ATTRIBUTE, Kind, Problem
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.config.queue_keys import KEPT, TIME_LIMIT
from django_partisan.config.queues import queue_names
from django_partisan.config.validation import BOOLEAN, EXPIRY, PRIORITY, Rule, instance_of, one_of, or_none
from django_partisan.definitions import KEEP_FAILED, KEEP_FINISHED
from django_partisan.metrics import custom

_MEASURES: Final = Rule(
    lambda value: (
        isinstance(value, list | tuple) and all(isinstance(measure, custom.Measure) for measure in value)
    ),
    "a list or tuple of CounterMeasure and HistogramMeasure",
)
_NOT_SET: Final = object()
QUEUE_ATTRIBUTE: Final = "QUEUE_NAME"
# The other attributes of a processor class.
ATTRIBUTES: Final[Mapping[str, Rule]] = {
    "PRIORITY": PRIORITY,
    "UNIQUE_FOR_PARAMS": BOOLEAN,
    "RETRY_ON_ERROR_CONFIG": or_none(instance_of(ErrorsHandleConfig)),
    "POSTPONE_CONFIG": or_none(instance_of(PostponeConfig)),
    "ATOMIC": BOOLEAN,
    "KEEP_RESULT": BOOLEAN,
    "TIMEOUT_SECONDS": Rule(
        lambda value: value is None or value == math.inf or TIME_LIMIT.accepts(value),
        f"{TIME_LIMIT.expected}, math.inf for no limit, or None for the limit of the queue",
    ),
    "EXPIRES_SECONDS": or_none(EXPIRY),
    "TRACE_PROPAGATION": or_none(one_of(*PROPAGATIONS)),
    KEEP_FINISHED: KEPT,
    KEEP_FAILED: KEPT,
    custom.ATTRIBUTE: _MEASURES,
}


def problems() -> Iterator[Problem]:
    """Yield each problem of the registered processor classes."""
    known = queue_names()
    queue_rule = Rule(known.__contains__, "one of " + ", ".join(map(repr, known)))
    for processor_class in registry.processor_classes():
        yield from _problem(UNKNOWN_QUEUE, processor_class, QUEUE_ATTRIBUTE, queue_rule)
        yield from wrong_attributes(processor_class)
    definitions = registry.definitions.values()
    comparable = (one for one in definitions if _MEASURES.accepts(getattr(one.source, custom.ATTRIBUTE, ())))
    yield from custom.problems(comparable)


def wrong_attributes(processor_class: type) -> Iterator[Problem]:
    """Yield each attribute of a processor class, except its queue, whose value is not accepted."""
    for name, rule in ATTRIBUTES.items():
        yield from _problem(WRONG_ATTRIBUTE, processor_class, name, rule)


def _problem(kind: Kind, processor_class: type, name: str, rule: Rule) -> Iterator[Problem]:
    value = _value(processor_class, name)
    if value is not _NOT_SET and not rule.accepts(value):
        place = f"{processor_class.__name__}.{name}"
        yield Problem(kind, place, value, rule.expected, processor_class=processor_class)


def _value(processor_class: type, name: str) -> object:
    return getattr(processor_class, name, _NOT_SET)  # some have no default on the base class
