"""Print the summary at the end of `python -m demo`."""

from pathlib import Path

from demo.accounting import Account, Percentiles, Timing
from demo.progress import Terminal
from demo.telemetry import Followed, Telemetry

MOST_NAMED = 10


def print_summary(terminal: Terminal, account: Account, timing: Timing, output: Path) -> None:
    """Print the outcomes and the timing of the tasks, and the path of the report."""
    say, bold = terminal.print_line, terminal.bold
    say()
    say(bold("Tasks by outcome"))
    say(terminal.green(f"  completed         {account.completed:6}"))
    say(f"  failed            {account.failed_as_expected:6}   as expected: these files are not Python")
    _print_unaccounted(terminal, account.unaccounted)
    say(f"  on the way        {account.retries:6} retries, because the web service sometimes failed")
    say(f"                    {account.postpones:6} postpones, because the report waited for the files")
    say()
    say(bold("Speed of this demo"))
    pace = f"{timing.tasks_per_second:.0f} tasks per second"
    say(f"  {pace}, from the first claim to the last task's end: {timing.seconds:.1f} s")
    say("  This is the speed of the demo, whose tasks parse files and wait for a web service that sometimes")
    say("  fails. `make bench` measures the overhead of the library per task: see docs/performance.md")
    say("                                                   p50      p95      p99")
    say("  wait   due until claimed; all were due at once" + _columns(timing.wait))
    say("  hold   claimed until its outcome was written  " + _columns(timing.held))
    say("  run    inside run(), of the indexed files     " + _columns(timing.run))
    say()
    report = output / "report.html"
    say(f"{bold('Report')}  {report if report.exists() else 'not written'}")
    say()


def print_telemetry(terminal: Terminal, telemetry: Telemetry, followed: Followed | None) -> None:
    """Print the paths of metrics, log and spans, and what each of them shows of one task."""
    say, bold = terminal.print_line, terminal.bold
    say(bold("Telemetry"))
    say(f"  metrics  {telemetry.metrics}   the last scrape of {telemetry.address}/metrics")
    say(f"  log      {telemetry.log}   one ECS event per line")
    if telemetry.traces_to is None:
        say("  spans    none: install an exporter with pip install 'django-partisan[otlp]'")
    else:
        say(f"  spans    {telemetry.spans}   one span per line")
    say()
    if followed is not None:
        _print_followed(terminal, followed)


def _print_followed(terminal: Terminal, followed: Followed) -> None:
    say = terminal.print_line
    say(terminal.bold(f"Task {followed.task} ({followed.processor}) in all three, by its id"))
    for line in followed.lines:
        head = f"  log      {line['@timestamp'][11:23]}  "
        say(terminal.wrapped(head, line["message"]))
    for span in followed.spans:
        seconds = (span["ended"] - span["started"]) / 1e9
        outcome = span["attributes"].get("partisan.task.outcome", "")
        linked = "".join(f", linked to span {link['span_id']}" for link in span["links"])
        name = f"{span['name']} {outcome}".rstrip()
        say(f"  span     {span['span_id']}  {name}, {_readable(seconds)}{linked}")
    say(f"  metric   partisan_task_duration_seconds_bucket{{{followed.series}}}")
    say(f"           exemplar: trace {followed.trace}, span {followed.span}")
    say()


def print_what_next(terminal: Terminal) -> None:
    """Print suggestions for what to try next."""
    say = terminal.print_line
    say(terminal.bold("What to try next"))
    say("  make demo-serve            keep the site, the admin and a manager with steady traffic running")
    say("  demo/partisan_tasks.py     read the three processors, change one, run the demo again")
    say("  docs/observability.md      set up metrics, logs and spans for your own tasks")
    say("  README.md                  add django-partisan to your own project")


def _print_unaccounted(terminal: Terminal, unaccounted: list[str]) -> None:
    text = f"  unaccounted for   {len(unaccounted):6}"
    terminal.print_line(terminal.red(text) if unaccounted else text)
    for task in unaccounted[:MOST_NAMED]:
        terminal.print_line(f"    {task}")
    if len(unaccounted) > MOST_NAMED:
        terminal.print_line(f"    and {len(unaccounted) - MOST_NAMED} more")


def _columns(times: Percentiles) -> str:
    return "".join(f"{_readable(seconds):>9}" for seconds in (times.p50, times.p95, times.p99))


def _readable(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
