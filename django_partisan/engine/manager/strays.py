"""Runs that go on here though another manager took their tasks over while our lease was lost.

Such a run ends as it likes: the fence keeps its outcome from the row. Should the task come back to
us meanwhile, it waits until the run has ended, for no task runs twice at the same time in one manager.
"""

from collections.abc import Iterable, Sequence

from django_partisan.sql.claiming import ID, TaskRow


class Strays:
    """Remember the tasks that workers still hold under a claim that is no longer ours."""

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._aside: dict[int, TaskRow] = {}

    def add(self, ids: Iterable[int]) -> None:
        """Note that workers hold tasks that are not ours."""
        self._ids.update(ids)

    def set_aside(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks that may run now; one that still runs here waits."""
        if not self._ids:
            return rows
        self._aside.update((row[ID], row) for row in rows if row[ID] in self._ids)
        return [row for row in rows if row[ID] not in self._ids]

    def aside(self) -> list[TaskRow]:
        """Return the tasks that wait for a run to end."""
        return list(self._aside.values())

    def others(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks whose claim is ours."""
        return [row for row in rows if row[ID] not in self._ids]

    def drop(self, rows: Sequence[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """Note that no worker holds ``rows`` any more; return those that are ours, and what waited."""
        if not self._ids:
            return list(rows), []
        ended = self._ids.intersection(row[ID] for row in rows)
        self._ids -= ended
        waited = [self._aside.pop(task_id) for task_id in sorted(ended) if task_id in self._aside]
        return [row for row in rows if row[ID] not in ended], waited
