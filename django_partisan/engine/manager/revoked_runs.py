"""Runs that go on here although another manager took their tasks over while our lease was lost."""

from collections.abc import Iterable, Sequence

from django_partisan.sql.claiming import ID, TaskRow


class RevokedRuns:
    """Know the tasks that workers hold under a claim that is no longer ours, and what waits for them."""

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._waiting: dict[int, TaskRow] = {}

    def add(self, ids: Iterable[int]) -> None:
        """Note that workers hold tasks that are not ours."""
        self._ids.update(ids)

    def set_aside(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks that may run now; a task that still runs here waits."""
        if not self._ids:
            return rows
        self._waiting.update((row[ID], row) for row in rows if row[ID] in self._ids)
        return self.without(rows)

    def waiting(self) -> list[TaskRow]:
        """Return the tasks that wait for a run to end."""
        return list(self._waiting.values())

    def without(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks of ``rows`` whose claim is ours."""
        return [row for row in rows if row[ID] not in self._ids]

    def end(self, rows: Sequence[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """Note that no worker holds ``rows`` any more; return those that are ours, and what waited."""
        if not self._ids:
            return list(rows), []
        ended = self._ids.intersection(row[ID] for row in rows)
        self._ids -= ended
        waited = [self._waiting.pop(task_id) for task_id in sorted(ended) if task_id in self._waiting]
        return [row for row in rows if row[ID] not in ended], waited
