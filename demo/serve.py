"""`python -m demo --serve`: run the site, the admin and a manager with steady traffic until Ctrl-C."""

import random
import socket
import time
from datetime import timedelta
from itertools import count
from pathlib import Path

from django.contrib.auth import get_user_model
from django.utils import timezone

from demo import enqueue, library, progress
from demo.partisan_tasks import ImportPackage, IndexFile, WriteReport
from demo.processes import Children
from demo.progress import Terminal
from demo.telemetry import Telemetry, watched
from django_partisan.processor import bulk_delay

HOST = "127.0.0.1"
USUAL_PORT = 8000
LOGIN = "demo"
METRICS_SECONDS = 10.0


def run(terminal: Terminal, output: Path, files: int | None, port: int | None) -> int:
    """Serve until interrupted; return 1 if the site or the manager ends by itself."""
    get_user_model().objects.create_superuser(LOGIN, password=LOGIN)
    try:
        with watched(output) as telemetry:
            return _run(terminal, output, files, port, telemetry)
    except KeyboardInterrupt:
        return 0
    finally:
        terminal.print_line("All processes are stopped and the database is removed.")


def _run(terminal: Terminal, output: Path, files: int | None, port: int | None, telemetry: Telemetry) -> int:
    enqueue.everything(files, output)
    address = f"{HOST}:{port or _free_port()}"
    with Children() as children:
        try:
            children.start("manager", output / "manager.log", "start_partisan", *telemetry.options)
            site = ("runserver", "--noreload", "--insecure", address)
            children.start("site", output / "site.log", *site)
            _wait_for_metrics(telemetry)
            _introduce(terminal, address, output, telemetry)
            return _keep_going(terminal, children, output)
        except KeyboardInterrupt:
            terminal.print_line("Stopping; waiting for running tasks.")
            raise


def _wait_for_metrics(telemetry: Telemetry) -> None:
    """Wait until the manager has logged the address of its metrics. If it fails, its log has the reason."""
    deadline = time.monotonic() + METRICS_SECONDS
    while telemetry.address is None and time.monotonic() < deadline:
        time.sleep(0.1)


def _introduce(terminal: Terminal, address: str, output: Path, telemetry: Telemetry) -> None:
    terminal.print_line(
        f"{terminal.bold('Admin')}   http://{address}/admin/   user {LOGIN}, password {LOGIN}"
    )
    terminal.print_line(f"{terminal.bold('Report')}  http://{address}/report/  once all files are indexed")
    terminal.print_line(f"{terminal.bold('Metrics')} {telemetry.address}/metrics   also /live and /ready")
    terminal.print_line(f"{terminal.bold('Events')}  {telemetry.log}")
    if telemetry.traces_to is not None:
        terminal.print_line(f"{terminal.bold('Spans')}   {telemetry.spans}")
    terminal.print_line(f"{terminal.bold('Logs')}    {output / 'manager.log'} and {output / 'site.log'}")
    terminal.print_line("Ctrl-C stops all processes and removes the database.")


def _keep_going(terminal: Terminal, children: Children, output: Path) -> int:
    """Enqueue some tasks every second while the children are running."""
    for second in count():
        if (ended := children.ended()) is not None:
            name, child = ended
            terminal.print_line(f"The {name} exited with code {child.exit_code()}. The end of {child.log}:")
            terminal.print_line(child.log_end())
            return 1
        _enqueue_some(second, output)
        now = progress.counts()
        terminal.update(f"{progress.line(now)}; waiting {now.waiting}, in process {now.in_process}")
        time.sleep(1)
    raise AssertionError("count() never ends")


def _enqueue_some(second: int, output: Path) -> None:
    paths = random.sample(_FILES, 5)
    bulk_delay([IndexFile(path=path) for path in paths])
    ImportPackage(name=library.package_of(paths[0])).delay()
    if second % 10 == 0:
        in_a_minute = timezone.now() + timedelta(minutes=1)
        ImportPackage(name=library.package_of(paths[1])).delay(execute_after=in_a_minute)
    if second % 30 == 0:
        IndexFile(path=str(output / "broken.py")).delay()
        WriteReport().delay()


_FILES = library.python_files()


def _free_port() -> int:
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise OSError("no port is free")
