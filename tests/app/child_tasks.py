"""Processors that start processes in every way Python offers."""

import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.connection import fetch_all
from tests.app import journal
from tests.app.models import Note

if "START_METHOD" in os.environ:
    multiprocessing.set_start_method(os.environ["START_METHOD"])


@registry.register
class TellMultiprocessing(BaseTaskProcessor):
    """Record the state of ``multiprocessing`` here, and how children of each start method end."""

    def run(self) -> None:
        method = multiprocessing.get_start_method()
        journal.write("multiprocessing", method=method, daemon=multiprocessing.current_process().daemon)
        if self.args:
            return
        for method in multiprocessing.get_all_start_methods():
            context: Any = multiprocessing.get_context(method)
            child = context.Process(target=time.sleep, args=(60,))
            with _many_threads():
                child.start()
            child.terminate()
            child.join(5)
            journal.write("terminated", method=method, code=child.exitcode)
            child.kill()
        with _many_threads(), multiprocessing.get_context("fork").Pool(2) as pool:
            journal.write("pool", result=pool.map(abs, [-1, -2]))
        journal.write("left the pool")


class _ForkAndReturn(BaseTaskProcessor):
    """Fork; the child uses the database and then leaves ``run()`` in the given way."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        how = self.args[0]
        Note.objects.create(text="before")
        with _many_threads():
            child = os.fork()
        if child == 0:
            journal.write("child", how=how, backend=_backend(), parent=os.getppid())
            if how == "raise":
                raise ValueError("in the child")
            if how == "exit":
                sys.exit(7)
            return
        _, status = os.waitpid(child, 0)
        Note.objects.create(text="after")
        code = os.waitstatus_to_exitcode(status)
        journal.write("parent", how=how, code=code, backend=_backend())


@registry.register
class ForkAndReturn(_ForkAndReturn):
    """Fork and return, without a transaction."""


@registry.register
class ForkAndReturnAtomically(_ForkAndReturn):
    """Fork and return, in a transaction."""

    ATOMIC = True


@contextmanager
def _many_threads() -> Iterator[None]:
    """Ignore Python 3.12's warning about forks in a process with threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _backend() -> int:
    pid: int = fetch_all(connection, "SELECT pg_backend_pid()")[0][0]
    return pid
