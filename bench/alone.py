"""Measure django-partisan without peers."""

import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import machine, watched
from bench.database import Database
from bench.measurement import Failed, Measurement, append
from bench.plan import Plan
from bench.scenarios import SCENARIOS, Options
from bench.subject import Subject
from tools import postgres


def run(plan: Plan) -> tuple[str, list[Measurement], list[watched.VariantTelemetry]]:
    """Measure; return the head of the report, the measurements, and the notes of the companions."""
    measurements: list[Measurement] = []
    tasks_run: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="partisan-bench-") as folder, database_server() as database:
        head = machine.describe(database.settings(), str(plan))
        print(head, flush=True)
        for scenario, options, variants in plan.steps():
            for repetition in range(plan.repetitions):
                for name in random.sample(variants, len(variants)):
                    subject = Subject(name, database, Path(folder), managers=plan.managers)
                    measurement = _measure(subject, scenario, options, repetition)
                    tasks_run[name] += measurement.tasks_run
                    measurements.append(measurement)
                    _print_measurement(measurement)
                    if plan.output:
                        append(plan.output, [measurement])
        time.sleep(watched.LATEST_NOTE_SECONDS)
        return head, measurements, watched.read_telemetry(Path(folder) / "notes", tasks_run)


@contextmanager
def database_server() -> Iterator[Database]:
    """Yield a database on the server in DATABASE_URL, or on an embedded, durable one."""
    if url := os.environ.get("DATABASE_URL"):
        database = Database(url)
        try:
            yield database
        finally:
            database.close()
        return
    with postgres.server(durable=True) as server:
        database = Database(server.url, server.pid, server.log)
        try:
            yield database
        finally:
            database.close()


def _measure(subject: Subject, scenario: str, options: Options, repetition: int) -> Measurement:
    measurement = Measurement(
        scenario=scenario,
        subject=f"partisan2:{subject.name}",
        tasks=options.tasks,
        repetition=repetition,
        at=time.time(),
        load=os.getloadavg()[0],
        conditions=options.conditions,
    )
    try:
        measurement.figures = SCENARIOS[scenario](subject, options)
    except Failed as error:
        measurement.error = str(error)
    return measurement


def _print_measurement(measurement: Measurement) -> None:
    figures = {name: round(value, 2) for name, value in measurement.figures.items() if value is not None}
    print(f"{measurement.scenario} {measurement.subject} {measurement.error or figures}", flush=True)
