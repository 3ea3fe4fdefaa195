"""Run every check in order; an error in one does not prevent the others."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Final, NamedTuple

from django_partisan.doctor import (
    database,
    held,
    host,
    indexes,
    log_lines,
    metrics_port,
    notifications,
    paused,
    retention,
    rules,
    settings,
    time_limits,
    traces,
)
from django_partisan.doctor.finding import ERROR, SKIPPED, Finding, Subject
from django_partisan.doctor.reading import limited
from django_partisan.exceptions import CannotStart


class Check(NamedTuple):
    """A check, and the checks that must have no errors before it can run."""

    look: Callable[[Subject], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    reads: bool = False
    """Whether it only reads the tables of the tasks' database, and so can run with a time limit."""


CHECKS: Final[Mapping[str, Check]] = {
    "settings": Check(settings.look),
    "limits": Check(time_limits.look, ("settings",)),
    "database": Check(database.look),
    "writes": Check(database.look_at_writes, ("database",), reads=True),
    "migrations": Check(database.look_at_migrations, ("database",), reads=True),
    "indexes": Check(indexes.look, ("database", "migrations"), reads=True),
    "notifications": Check(notifications.look, ("database",)),
    "clock": Check(database.look_at_clock, ("database",)),
    "managers": Check(database.look_at_managers, ("database", "migrations"), reads=True),
    "paused": Check(paused.look, ("database", "migrations"), reads=True),
    "held": Check(held.look, ("database", "migrations"), reads=True),
    "retention": Check(retention.look, ("settings", "database", "migrations"), reads=True),
    "host": Check(host.look),
    "logs": Check(log_lines.look),
    "traces": Check(traces.look),
    "metrics": Check(metrics_port.look),
    "rules": Check(rules.look),
}


def examine(subject: Subject, checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """Return the findings of all checks; an error that a check raises becomes a finding."""
    findings: list[Finding] = []
    for name, check in checks.items():
        broken = {finding.check for finding in findings if finding.status == ERROR}.intersection(check.needs)
        skipped = [Finding(SKIPPED, f"Skipped: correct {need} first.") for need in sorted(broken)[:1]]
        findings.extend(finding._replace(check=name) for finding in skipped or _findings_of(check, subject))
    return findings


def _findings_of(check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        with limited() if check.reads else nullcontext():
            yield from check.look(subject)
    except CannotStart as error:
        yield Finding(ERROR, error.problem, error.cure)
    except Exception as error:  # an error here must not hide the findings of the other checks
        reason = " ".join(str(error).split())
        yield Finding(ERROR, f"The check failed: {type(error).__name__}: {reason}")
