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

    run: Callable[[Subject], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    reads: bool = False
    """Whether it only reads the tables of the tasks' database, and so can run with a time limit."""


CHECKS: Final[Mapping[str, Check]] = {
    "settings": Check(settings.check),
    "limits": Check(time_limits.check, ("settings",)),
    "database": Check(database.check),
    "writes": Check(database.check_writes, ("database",), reads=True),
    "migrations": Check(database.check_migrations, ("database",), reads=True),
    "indexes": Check(indexes.check, ("database", "migrations"), reads=True),
    "notifications": Check(notifications.check, ("database",)),
    "clock": Check(database.check_clock, ("database",)),
    "managers": Check(database.check_managers, ("database", "migrations"), reads=True),
    "paused": Check(paused.check, ("database", "migrations"), reads=True),
    "held": Check(held.check, ("database", "migrations"), reads=True),
    "retention": Check(retention.check, ("settings", "database", "migrations"), reads=True),
    "host": Check(host.check),
    "logs": Check(log_lines.check),
    "traces": Check(traces.check),
    "metrics": Check(metrics_port.check),
    "rules": Check(rules.check),
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
            yield from check.run(subject)
    except CannotStart as error:
        yield Finding(ERROR, error.problem, error.remedy)
    except Exception as error:  # an error here must not hide the findings of the other checks
        reason = " ".join(str(error).split())
        yield Finding(ERROR, f"The check failed: {type(error).__name__}: {reason}")
