"""An admin site with rows of every kind, and a real Chromium to open it."""

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from tests.support.admin import make_manager, make_task

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/shop/tasks.py", line 41, in run
    self.provider.deliver(self.order, timeout=self.timeout, retries=self.retries, address=self.address)
  File "/srv/shop/shop/providers/smtp.py", line 212, in deliver
    raise Refused(f"451 4.3.0 <{address}>: Temporary lookup failure")
shop.providers.smtp.Refused: 451 4.3.0 <customer@example.org>: Temporary lookup failure
"""
MESSAGE = "451 4.3.0 <customer@example.org>: Temporary lookup failure, the name server did not answer in time"


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium; skip the test, with the remedy, if Chromium or playwright is missing."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is missing; on Debian: apt-get install chromium")
    try:
        playwright = importlib.import_module("playwright.sync_api")
    except ImportError:
        pytest.skip(
            "playwright is missing; run .venv/bin/pip install playwright (it needs no browser of its own)"
        )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def history() -> list[dict[str, Any]]:
    """Return a history with every kind of entry."""
    began = datetime(2026, 11, 24, 7, 3, 12, 345678, tzinfo=timezone.get_default_timezone())

    def at(minutes: int) -> str:
        return (began + timedelta(minutes=minutes)).isoformat()

    error = {"error_type": "shop.providers.smtp.Refused", "error_message": MESSAGE, "traceback": TRACEBACK}
    return [
        {"outcome": "postponed", "attempt": 1, "seconds": 0.21, "started_at": at(0), "ended_at": at(0),
         "comment": "the mailbox is full", "worker": "web-1.example.org:4711"},
        {"outcome": "retried", "attempt": 9, "count": 8, "seconds": 30.02, "started_at": at(9),
         "ended_at": at(9), "first_ended_at": at(1), "worker": "web-1.example.org:4712", **error},
        {"outcome": "failed", "reason": "retries_exhausted", "attempt": 10, "seconds": 30.0,
         "started_at": at(12), "ended_at": at(12), "worker": "web-1.example.org:4712", **error},
        {"outcome": "requeued", "ended_at": at(60), "comment": "the name server is back"},
        {"outcome": "prioritized", "priority": 1, "ended_at": at(61)},
        {"outcome": "failed", "reason": "error", "attempt": 11, "seconds": 0.8, "started_at": at(62),
         "ended_at": at(62), "worker": "web-2.example.org:17", **error},
    ]  # fmt: skip


def fill() -> dict[str, Task]:
    """Insert tasks of every status and two managers; return some of the tasks by kind."""
    now = timezone.now()
    manager = make_manager(host="web-1.example.org", pid=4700, lease_seconds=3600)
    mail = {"processor_class": "SendOrderConfirmation", "queue_name": "mail"}
    failure = {
        "error_reason": "retries_exhausted",
        "error_type": "shop.providers.smtp.Refused",
        "error_message": MESSAGE,
        "error_traceback": TRACEBACK,
    }
    for number in range(60):
        make_task(
            **mail,
            arguments={"args": [4700 + number], "kwargs": {}},
            status="finished",
            attempts=1,
            started_at=now - timedelta(seconds=number + 2),
            finished_at=now - timedelta(seconds=number),
            worker="web-1.example.org:4711",
        )
    running = make_task(
        **mail,
        status="in_process",
        claimed_by=manager.pk,
        claimed_at=now,
        claim_token=2**62 + 7,
        arguments={"args": [], "kwargs": {"order": 4711}},
    )
    run = {
        "task": running.pk,
        "processor": "SendOrderConfirmation",
        "pid": 4711,
        "worker": 1,
        "seconds": 75.2,
    }
    other = {**run, "processor": "ResizePicture", "worker": 2, "seconds": 0.3}
    ManagerLease.objects.filter(pk=manager.pk).update(
        queue_name="mail", state={"v": 1, "runs": [run, other], "at": now.isoformat()}
    )
    make_manager(
        host="web-2.example.org", pid=99, lease_seconds=3600, state={"role": "worker"}, sleeping=True
    )
    return {
        "running": running,
        "failed": make_task(
            **mail, **failure, status="error", attempts=11, retries=8, postpones=1, history=history(),
            started_at=now - timedelta(seconds=1), finished_at=now, worker="web-2.example.org:17",
            claimed_by=manager.pk, arguments={"args": [4711], "kwargs": {"note": "<b>bold</b>"}},
        ),
        "marked": make_task(
            processor_class="<script>alert(1)</script>", status="error", error_type="app.<i>Odd</i>",
            error_message="<img src=x onerror=alert(2)>", error_reason="error", finished_at=now, attempts=1,
        ),
        "scheduled": make_task(**mail, execute_after=now + timedelta(hours=2), attempts=1, retries=1),
        "due": make_task(**mail, ready=True, priority=5),
        "held": make_task(processor_class="OfNewerCode", held="unregistered", unregistered_since=now),
        "cancelled": make_task(
            **mail, status="error", error_reason="cancelled", finished_at=now,
            error_type="django_partisan.exceptions.TaskCancelled", error_message="ordered twice",
        ),
    }  # fmt: skip
