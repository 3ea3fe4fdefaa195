"""The printed report: a line per seed, details of failed seeds, a table of faults."""

from collections import Counter
from collections.abc import Iterator, Sequence

from django_partisan.schedules.tick_record import TICK_OUTCOMES

from .evidence import COMMITTED, Evidence
from .schedules import SCHEDULES
from .trial import Outcome
from .violation import Violation

EXAMPLES = 3
"""How many tasks per broken guarantee are shown with their history."""


def line(outcome: Outcome) -> str:
    """Return a seed's line."""
    evidence, record = outcome.evidence, outcome.record
    broken = Counter(found.promise for found in outcome.violations)
    verdict = ", ".join(f"{count} x {promise}" for promise, count in broken.items()) or "ok"
    counts = (
        f"{len(outcome.plan.managers)} managers, {_committed(evidence):>4} tasks,"
        f" {len(evidence.runs):>4} runs, {sum(record.happened.values()):>2} faults"
    )
    notes = f" ({len(record.notes)} notes in report.txt)" if record.notes else ""
    return f"seed {outcome.plan.seed:>4}: {counts}: {verdict}{notes}"


def details(outcome: Outcome, command: str) -> Iterator[str]:
    """Yield the lines about a failed seed."""
    yield f"--- seed {outcome.plan.seed}: {len(outcome.violations)} violations"
    yield f"run it again: {command}"
    yield f"logs and journals: {outcome.folder}"
    yield from str(outcome.plan).splitlines()
    yield from outcome.record.notes
    shown: Counter[str] = Counter()
    for found in outcome.violations:
        shown[found.promise] += 1
        if shown[found.promise] <= EXAMPLES:
            yield f"* {found.promise}: {found.key or ''} {found.text}"
            yield from (f"    {text}" for text in history(outcome.evidence, found))
    for promise, count in shown.items():
        if count > EXAMPLES:
            yield f"* {promise}: {count - EXAMPLES} more"


def history(evidence: Evidence, found: Violation) -> Iterator[str]:
    """Yield the history of a violation's task; times are in seconds since the first enqueueing."""
    if found.key is None:
        return
    start = min((one.began_at for one in evidence.enqueued), default=0.0)
    for one in evidence.enqueued:
        if one.key == found.key:
            yield f"{one.began_at - start:8.3f}  {one.kind}({one.amount}) {one.verdict}, id {one.id}"
    for run in sorted(evidence.runs, key=lambda one: one.begun):
        if run.key == found.key:
            if run.ended is not None:
                end = f"{run.how} after {run.ended - run.begun:.3f} s"
            elif run.pid in evidence.killed:
                end = f"killed after {evidence.killed[run.pid] - run.begun:.3f} s"
            else:
                end = "without an end"
            counts = f"attempt {run.attempt}, postpones {run.postpones}, retries {run.retries}"
            where = f"run of {run.id} in {run.pid} of manager {run.manager}"
            yield f"{run.begun - start:8.3f}  {where}, {counts}: {end}"
    for row in evidence.rows:
        if row.key == found.key:
            yield f"     row  {row}"
    managers = {run.manager for run in evidence.runs if run.key == found.key}
    for gap in sorted(evidence.gaps, key=lambda one: one.began_at):
        if gap.manager in managers | {None}:
            whose = "all managers" if gap.manager is None else f"manager {gap.manager}"
            yield f"{gap.began_at - start:8.3f}  {whose} cut off for {gap.ended_at - gap.began_at:.3f} s"
    for pid in managers & evidence.killed.keys():
        yield f"{evidence.killed[pid] - start:8.3f}  manager {pid} killed"


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a table of how often each kind of fault happened."""
    happened: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for outcome in outcomes:
        happened += outcome.record.happened
        missed += outcome.record.missed
    width = max((len(name) for name in (*happened, *missed)), default=0)
    yield f"{'fault':<{width}}  happened  found no target"
    for name in sorted(happened.keys() | missed.keys()):
        yield f"{name:<{width}}  {happened[name]:>8}  {missed[name]:>15}"


def ticks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a table of each schedule's ticks by outcome."""
    totals = {name: Counter[str]() for name in SCHEDULES}
    for outcome in outcomes:
        for row in outcome.evidence.schedules:
            totals[row.name].update(row.totals)
    width = max(map(len, totals))
    yield f"{'ticks of':<{width}}  " + "  ".join(TICK_OUTCOMES)
    for name, numbers in totals.items():
        yield f"{name:<{width}}  " + "  ".join(f"{numbers[one]:>{len(one)}}" for one in TICK_OUTCOMES)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last line."""
    failed = [outcome.plan.seed for outcome in outcomes if outcome.violations]
    faults = sum(sum(outcome.record.happened.values()) for outcome in outcomes)
    tasks = sum(_committed(outcome.evidence) for outcome in outcomes)
    runs = sum(len(outcome.evidence.runs) for outcome in outcomes)
    count = sum(len(outcome.violations) for outcome in outcomes)
    text = f"{len(outcomes)} seeds, {tasks} tasks, {runs} runs, {faults} faults, {count} violations"
    return f"{text} in seeds {', '.join(map(str, failed))}" if failed else text


def _committed(evidence: Evidence) -> int:
    return sum(one.verdict == COMMITTED for one in evidence.enqueued)
