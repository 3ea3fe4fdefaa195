"""Import the modules of task functions that schedules name, in a separate thread.

A module may take long to import and may fail in any way. A separate thread keeps the manager's loop running,
and no transaction or database call has to wait for an import.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from django_partisan import registry
from django_partisan.engine.manager.database_call import Deliver

THREAD_NAME: Final = "partisan-imports"

Imported = Mapping[str, BaseException | None]
"""Names of tasks, each with the error that importing its module raised, or ``None``."""


class TaskImports:
    """Imports of modules; ``done`` is called with the results, in the loop that ``deliver`` reaches."""

    def __init__(self, deliver: Deliver, done: Callable[[Imported], None]) -> None:
        self._deliver = deliver
        self._done = done
        self._asked: set[str] = set()
        self._is_busy = False

    def request(self, tasks: Iterable[str]) -> None:
        """Import the modules of tasks, after those requested before."""
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
        self.request(())
