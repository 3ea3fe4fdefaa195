"""The examination: every check in order, each on its own, so that one that breaks hides no other."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from django_partisan.doctor import (
    clock,
    database,
    host,
    log_lines,
    managers,
    metrics_port,
    migrations,
    notifications,
    rules,
    settings,
    traces,
)
from django_partisan.doctor.finding import ERROR, SKIPPED, Finding
from django_partisan.doctor.subject import Subject


class Check(NamedTuple):
    """A check, and those that must not have found an error before it has a chance."""

    name: str
    look: Callable[[Subject], Iterator[Finding]]
    needs: tuple[str, ...] = ()


CHECKS: Final = (
    Check(settings.NAME, settings.look),
    Check(database.NAME, database.look),
    Check(migrations.NAME, migrations.look, (database.NAME,)),
    Check(notifications.NAME, notifications.look, (database.NAME,)),
    Check(clock.NAME, clock.look, (database.NAME,)),
    Check(managers.NAME, managers.look, (database.NAME, migrations.NAME)),
    Check(host.NAME, host.look),
    Check(log_lines.NAME, log_lines.look),
    Check(traces.NAME, traces.look),
    Check(metrics_port.NAME, metrics_port.look),
    Check(rules.NAME, rules.look),
)


def examine(subject: Subject) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    findings: list[Finding] = []
    for check in CHECKS:
        ill = [name for name in check.needs if _is_ill(findings, name)]
        if ill:
            findings.append(Finding(check.name, SKIPPED, f"Not looked at: first cure {ill[0]}."))
            continue
        try:
            findings.extend(check.look(subject))
        except Exception as error:  # what is broken here must not hide what the other checks find
            said = " ".join(str(error).split())
            findings.append(
                Finding(check.name, ERROR, f"Could not be looked at: {type(error).__name__}: {said}")
            )
    return findings


def _is_ill(findings: list[Finding], name: str) -> bool:
    return any(finding.check == name and finding.status == ERROR for finding in findings)
