"""What a row of the table requires, and how an observation differs from it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.real_parts.game_day.site import Fault, SiteOptions
from tests.real_parts.monitoring import Message

FIRING: Final = "firing"
RESOLVED: Final = "resolved"
CRITICAL: Final = "critical"
WARNING: Final = "warning"


@dataclass(frozen=True)
class Row:
    """A fault, and the alerts that it raises."""

    name: str
    fault: str
    inject: Fault
    alerts: tuple[str, ...]
    """All of them must fire; if empty, no alert may fire."""
    also_allowed: tuple[str, ...] = ()
    """Warnings that may fire as well, because they are also true."""
    severity: str = ""
    """The severity of the first alert, if two rules have its name."""
    named: str = ""
    """A text that the first alert's description must contain, such as the processor."""
    logged: str = ""
    """A pattern that a line of a manager's log must match: the cause."""
    options: SiteOptions = field(default_factory=SiteOptions)


@dataclass(frozen=True)
class Observation:
    """The notifications about a row's site and their times, by the monotonic clock."""

    began_at: float
    """When the injection began; it may take some seconds."""
    injected_at: float
    recovered_at: float
    received: Sequence[Message]
    log: str
    still_firing: frozenset[str] = frozenset()
    """The alerts that were still firing or pending when the wait for their end was over."""

    def firings(self, alert: str) -> list[Message]:
        """Return the notifications that say that an alert fires."""
        return [one for one in self.received if (one["status"], _name(one)) == (FIRING, alert)]

    def fired_after(self, alert: str) -> float | None:
        """Return the seconds from the fault to the first notification of an alert."""
        firings = self.firings(alert)
        return max(firings[0]["received_at"] - self.injected_at, 0.0) if firings else None

    def resolved_after(self) -> float | None:
        """Return the seconds from the recovery to the last notification of an end; may be negative."""
        ends = [one["received_at"] for one in self.received if one["status"] == RESOLVED]
        return ends[-1] - self.recovered_at if ends else None


def problems(row: Row, seen: Observation) -> Iterator[str]:
    """Yield each difference from what the row requires."""
    yield from _missing(row, seen)
    yield from _wrong(row, seen)
    if row.alerts and seen.firings(row.alerts[0]) and not _is_named(row, seen):
        texts = {one["annotations"]["description"] for one in seen.firings(row.alerts[0])}
        yield f"{row.alerts[0]} does not name {row.named!r}: {' / '.join(sorted(texts))}"
    if not re.search(row.logged, seen.log):
        yield f"no line of a manager's log matches {row.logged!r}"
    if seen.still_firing:
        yield f"not resolved: {', '.join(sorted(seen.still_firing))}"


def _missing(row: Row, seen: Observation) -> Iterator[str]:
    missing = [alert for alert in row.alerts if not seen.firings(alert)]
    if missing:
        fired = sorted({_name(one) for one in seen.received}) or ["nothing"]
        yield f"{', '.join(missing)} did not fire; what fired: {', '.join(fired)}"
    elif row.severity and row.severity not in _severities(seen, row.alerts[0]):
        yield f"{row.alerts[0]} did not fire as {row.severity}"


def _wrong(row: Row, seen: Observation) -> Iterator[str]:
    seen_already: set[tuple[str, str]] = set()
    for message in seen.received:
        alert, severity = graded = _name(message), message["labels"]["severity"]
        if message["status"] != FIRING or graded in seen_already:
            continue
        seen_already.add(graded)
        if message["received_at"] < seen.began_at or not _may_fire(row, alert, severity):
            text = message["annotations"]["description"]
            yield f"{alert} ({severity}) fired {_when(message, seen)}: {text}"


def _may_fire(row: Row, alert: str, severity: str) -> bool:
    if severity == CRITICAL:
        return alert in row.alerts and row.severity in ("", CRITICAL)
    return alert in (*row.alerts, *row.also_allowed)


def _when(message: Message, seen: Observation) -> str:
    if message["received_at"] < seen.began_at:
        return "before the fault"
    return f"{max(message['received_at'] - seen.injected_at, 0):.0f} s after the fault"


def _severities(seen: Observation, alert: str) -> set[str]:
    return {one["labels"]["severity"] for one in seen.firings(alert)}


def _is_named(row: Row, seen: Observation) -> bool:
    return any(row.named in one["annotations"]["description"] for one in seen.firings(row.alerts[0]))


def _name(message: Message) -> str:
    return message["labels"]["alertname"]
