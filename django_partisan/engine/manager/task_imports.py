"""Import the modules of task functions that schedules name, in a thread of its own.

A module may take long to import, and may fail in any way. Meanwhile no transaction is open, no answer of the
database is awaited, and the manager's loop goes on.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from django_partisan import registry
from django_partisan.engine.manager.database_thread import Deliver

THREAD_NAME: Final = "partisan-imports"

Imported = Mapping[str, BaseException | None]
"""The names of tasks, with the error if the module of a task could not be imported."""


class TaskImports:
    """Import modules; ``done`` gets the results, in the loop to which ``deliver`` hands functions."""

    def __init__(self, deliver: Deliver, done: Callable[[Imported], None]) -> None:
        self._deliver = deliver
        self._done = done
        self._asked: set[str] = set()
        self._is_busy = False

    def ask(self, tasks: Iterable[str]) -> None:
        """Import the modules of tasks, after those asked for before."""
        self._asked.update(tasks)
        if self._asked and not self._is_busy:
            self._is_busy = True
            run = partial(self._run, sorted(self._asked))
            self._asked.clear()
            threading.Thread(target=run, name=THREAD_NAME, daemon=True).start()

    def _run(self, tasks: Iterable[str]) -> None:
        imported: dict[str, BaseException | None] = {}
        for task in tasks:
            try:
                registry.find_or_import(task)
                imported[task] = None
            except BaseException as error:  # a module may also raise ``SystemExit``
                imported[task] = error
        self._deliver(partial(self._finish, imported))

    def _finish(self, imported: Imported) -> None:
        self._is_busy = False
        self._done(imported)
        self.ask(())
