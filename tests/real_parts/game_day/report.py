"""The output of a game day: a line for each row, a summary, and the page of the documentation."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from tests.real_parts.game_day.rows import ROWS
from tests.real_parts.game_day.trial import Result
from tests.real_parts.game_day.verdict import Row
from tests.real_parts.live_stack import ALERTS
from tests.support.commands import ROOT

PAGE: Final = ROOT / "docs" / "game-day.md"
TOP: Final = """\
# The game day

On a game day, faults are injected into a running system on purpose, to test its alerts.
This page shows which alerts fired for each fault, and how soon.
Each fault was injected into real managers under load, with a real Prometheus and Alertmanager that used the
rules and inhibition rules of `grafana/`.
For each fault, exactly the alerts in its row fired, and all of them resolved, some during the fault and the
others after the recovery.
An alert in the column *Also fired* is a warning about a consequence of the fault.

For the test, the durations in the rules were shortened from minutes to seconds. The columns *After* and
*Resolved* show the times with the shortened rules.
The times in *After* are counted from the end of the injection, which itself takes some seconds. The times in
*Resolved* are counted from the beginning of the recovery.
Some losses of telemetry are counted only once a minute, so the alerts about them can resolve while the fault
lasts.
The [runbooks](runbooks.md) describe what to do for each alert.

`make game-day` injects the faults, and writes this page if the alerts for every fault are as expected.

"""
NOTHING: Final = "nothing"


def listed(row: Row) -> str:
    """Return a row's line for ``--list``."""
    return f"{row.name:<20} {row.fault}: {', '.join(row.alerts) or NOTHING}"


def line(result: Result) -> str:
    """Return the text that is printed when a row has ended."""
    if result.problems:
        return "\n      ".join((f"{result.row.name}: WRONG", *result.problems))
    fired = [f"{alert} after {after:.0f} s" for alert, after in _fired(result)]
    resolved = _resolved(result)
    return f"{result.row.name}: ok; {', '.join(fired) or NOTHING}{resolved and f', resolved {resolved}'}"


def summary(results: Sequence[Result]) -> str:
    """Return the summary of all rows."""
    wrong = [result.row.name for result in results if result.problems]
    if not wrong:
        return f"{len(results)} rows, all right"
    again = " ".join(f"--only {name}" for name in wrong)
    return (
        f"{len(results)} rows, {len(wrong)} wrong: {', '.join(wrong)}\n"
        f"again: python -m tests.real_parts.game_day {again}"
    )


def page(results: Sequence[Result]) -> str:
    """Return the documentation page."""
    lines = [
        "| Fault | Fired | After | The shipped rule waits for | Also fired | Resolved |",
        "| --- | --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(_cells(result))} |" for result in results),
    ]
    return TOP + "\n".join(lines) + "\n" + bottom()


def bottom() -> str:
    """Return the end of the page: the alerts that no row requires."""
    required = {alert for row in ROWS.values() for alert in row.alerts}
    others = ", ".join(_linked(alert) for alert in WAITS if alert not in required)
    covered = (
        "The game day does not require any of the following alerts to fire; "
        "the promtool test cases in `grafana/alerts/tests` cover them instead"
    )
    return f"\n{covered}: {others}.\n"


def expected(row: Row) -> tuple[str, str]:
    """Return the cells of a row that are the same in every run."""
    return row.fault, ", ".join(map(_linked, row.alerts)) or NOTHING


def _cells(result: Result) -> Iterator[str]:
    yield from expected(result.row)
    yield ", ".join(f"{after:.0f} s" for _, after in _fired(result))
    yield ", ".join(WAITS[alert] for alert in result.row.alerts)
    yield ", ".join(map(_linked, sorted(_also_fired(result))))
    yield _resolved(result)


def _fired(result: Result) -> Iterator[tuple[str, float]]:
    if result.seen is not None:
        for alert in result.row.alerts:
            after = result.seen.fired_after(alert)
            if after is not None:
                yield alert, after


def _also_fired(result: Result) -> set[str]:
    seen = result.seen
    return set() if seen is None else {alert for alert in result.row.also_allowed if seen.firings(alert)}


def _resolved(result: Result) -> str:
    after = None if result.seen is None else result.seen.resolved_after()
    if after is None:
        return ""
    return f"after {after:.0f} s" if after >= 0 else "during the fault"


def _linked(alert: str) -> str:
    return f"[{alert}](runbooks.md#{alert.lower()})"


def _waits() -> dict[str, str]:
    rules: list[dict[str, Any]] = yaml.safe_load((ALERTS / "alerts.yaml").read_text())["groups"][0]["rules"]
    return {rule["alert"]: rule["for"].replace("m", " min") for rule in rules}


WAITS: Final = _waits()
