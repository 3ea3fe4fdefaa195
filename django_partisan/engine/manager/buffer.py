"""The tasks that the manager has claimed and not dispatched, in running order."""

from collections import deque
from collections.abc import Iterable

from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow, in_running_order


class Buffer:
    """Claimed tasks: rescued ones first, then by priority, then in the order in which they were enqueued.

    ``suspects`` are kept apart, in running order: they are dispatched by the component ``Suspects``, and
    ``len()`` does not count them.
    """

    def __init__(self) -> None:
        self._rescued: deque[TaskRow] = deque()
        self._rows: deque[TaskRow] = deque()
        self.suspects: list[TaskRow] = []

    @property
    def rescued(self) -> int:
        """Number of rescued tasks."""
        return len(self._rescued)

    def __len__(self) -> int:
        return len(self._rescued) + len(self._rows)

    def add(self, rows: list[TaskRow]) -> None:
        """Add tasks; ``rows`` must be in running order."""
        if not rows:
            return
        mine = self._rows
        if mine and in_running_order(rows[0]) < in_running_order(mine[-1]):
            mine = deque(sorted([*mine, *rows], key=in_running_order))  # two sorted runs: one merge
            self._rows = mine
        else:
            mine.extend(rows)

    def put_back(self, rows: Iterable[TaskRow]) -> None:
        """Add tasks that came back from a worker, in any order."""
        self.add(sorted(rows, key=in_running_order))

    def add_rescued(self, rows: Iterable[TaskRow]) -> None:
        """Add rescued tasks, which run before all others."""
        self._rescued.extend(rows)

    def add_suspects(self, rows: list[TaskRow]) -> None:
        """Add tasks that may have crashed their host."""
        self.suspects = sorted([*self.suspects, *rows], key=in_running_order)

    def take_suspect(self, task_id: int) -> TaskRow | None:
        """Remove and return a suspect; return ``None`` if it is not here any more."""
        found = next((row for row in self.suspects if row[ID] == task_id), None)
        if found is not None:
            self.suspects.remove(found)
        return found

    def first(self) -> TaskRow | None:
        """Return the task that runs next, without removing it."""
        if self._rescued:
            return self._rescued[0]
        return self._rows[0] if self._rows else None

    def take_same_processor(self, at_most: int) -> list[TaskRow]:
        """Remove and return up to ``at_most`` of the next tasks, as long as they are of one processor."""
        rows = self._rescued or self._rows
        taken: list[TaskRow] = []
        while rows and len(taken) < at_most and (not taken or rows[0][PROCESSOR] == taken[0][PROCESSOR]):
            taken.append(rows.popleft())
        return taken

    def take_processor(self, processor: str) -> list[TaskRow]:
        """Remove and return all tasks of a processor, including suspects."""
        taken = [row for row in (*self.rows(), *self.suspects) if row[PROCESSOR] == processor]
        self.drop({row[ID] for row in taken})
        return taken

    def take_last(self, number: int) -> list[TaskRow]:
        """Remove and return up to ``number`` of the tasks that run last; rescued tasks stay."""
        kept = max(0, len(self._rows) - number)
        rows = list(self._rows)
        self._rows = deque(rows[:kept])
        return rows[kept:]

    def rows(self) -> list[TaskRow]:
        """Return all tasks except suspects, without removing them."""
        return [*self._rescued, *self._rows]

    def take_all(self) -> list[TaskRow]:
        """Remove and return all tasks, including suspects."""
        taken = [*self.rows(), *self.suspects]
        self._rescued.clear()
        self._rows.clear()
        self.suspects.clear()
        return taken

    def drop(self, ids: set[int]) -> None:
        """Remove the tasks with these ids, for example because their claims were lost."""
        self._rescued = deque(row for row in self._rescued if row[ID] not in ids)
        self._rows = deque(row for row in self._rows if row[ID] not in ids)
        self.suspects = [row for row in self.suspects if row[ID] not in ids]
