"""Measure django-partisan and the peers in one interleaved run of the peers' harness."""

import time
from collections import Counter
from pathlib import Path

from bench import machine, watched
from bench.measurement import Measurement, append
from bench.peers import SUBJECTS, Harness, harness
from bench.plan import Plan


def run(
    plan: Plan, home: Path, peers: list[str] | None
) -> tuple[str, list[Measurement], list[watched.VariantTelemetry]]:
    """Measure; return the head of the report, the measurements, and the notes of the companions.

    `peers` have the form `name:variant`; `None` means the best known variants of the installed peers.
    """
    measurements: list[Measurement] = []
    with harness(home) as running:
        database = running.database()
        head = machine.describe(database.settings(), str(plan))
        print(head, flush=True)
        for scenario, options, variants in plan.steps():
            subjects = [f"partisan2:{name}" for name in variants] + _installed(
                running, peers or SUBJECTS[scenario]
            )
            arguments = ["--reps", str(plan.repetitions), "--cap", str(plan.cap), "--n", str(options.tasks)]
            if scenario == "drain":
                arguments += ["--retain", str(options.retained)]
            found = running.limit(scenario, options.tasks)
            found += running.measure(scenario, subjects, *arguments)
            found += running.limit(scenario, options.tasks)
            for measurement in found:
                if measurement.error:
                    measurement.error += "\n" + running.log_end(measurement.subject)
                _count_lost(measurement)
            measurements += found
            if plan.output:
                append(plan.output, found)
        time.sleep(watched.LATEST_NOTE_SECONDS)
        return head, measurements, watched.read_telemetry(running.notes, _tasks_run(measurements))


def _installed(running: Harness, peers: list[str] | tuple[str, ...]) -> list[str]:
    missing = [peer for peer in peers if not running.is_installed(peer)]
    if missing:
        print(f"left out, as they have no environment: {', '.join(missing)}", flush=True)
    return [peer for peer in peers if peer not in missing]


def _count_lost(measurement: Measurement) -> None:
    figures = measurement.figures
    distinct = figures.get("distinct")
    # Peers in other languages do not number their runs, so this is unknown for them.
    if distinct and not figures.get("capped"):
        figures["lost"] = measurement.tasks - distinct


def _tasks_run(measurements: list[Measurement]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for measurement in measurements:
        if measurement.is_ours:
            counted[measurement.subject.partition(":")[2]] += measurement.tasks_run
    return counted
