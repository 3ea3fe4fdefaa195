"""The buffer: whatever goes in and out, the rescued run first, then by priority, then as enqueued."""

import random

import pytest

from django_partisan.engine.manager.buffer import Buffer
from django_partisan.sql.claiming import ID, PRIORITY, PROCESSOR, TaskRow
from tests.support.rows import task_row as row


def _order(task: TaskRow) -> tuple[int, int]:
    return task[PRIORITY], task[ID]


class Rows:
    """Make rows at random, each with an id of its own."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ids = list(range(10_000))
        chance.shuffle(self._ids)

    def some(self) -> list[TaskRow]:
        return [
            row(self._ids.pop(), self._chance.choice("AB"), priority=self._chance.randrange(3))
            for _ in range(self._chance.randrange(6))
        ]


class Model:
    """What a buffer should hold, made the slow and simple way."""

    def __init__(self) -> None:
        self.rescued: list[TaskRow] = []
        self.others: list[TaskRow] = []

    @property
    def rows(self) -> list[TaskRow]:
        return self.rescued + sorted(self.others, key=_order)

    def remove(self, rows: list[TaskRow]) -> None:
        self.rescued = [one for one in self.rescued if one not in rows]
        self.others = [one for one in self.others if one not in rows]


def _step(chance: random.Random, rows: Rows, buffer: Buffer, model: Model) -> None:
    """Do one thing, chosen at random, to both."""
    kind = chance.choice(["add", "give back", "rescue", "take", "take", "take", "keep", "take all"])
    if kind == "add":
        added = sorted(rows.some(), key=_order)
        buffer.add(added)
        model.others += added
    elif kind == "give back":
        returned = rows.some()
        buffer.give_back(returned)
        model.others += returned
    elif kind == "rescue":
        rescued = rows.some()
        buffer.add_rescued(rescued)
        model.rescued += rescued
    elif kind == "take":
        at_most = chance.randrange(1, 5)
        taken = buffer.take_alike(at_most)
        assert taken == model.rows[: len(taken)]
        assert len({one[PROCESSOR] for one in taken}) == (1 if model.rows else 0)
        _assert_as_many_as_alike(taken, at_most, model)
        model.remove(taken)
    elif kind == "keep" and chance.random() < 0.2:
        lost = [one for one in model.rows if chance.random() < 0.3]
        buffer.keep_only({one[ID] for one in model.rows} - {one[ID] for one in lost})
        model.remove(lost)
    elif kind == "take all" and chance.random() < 0.1:
        assert buffer.take_all() == model.rows
        model.remove(model.rows)


def _assert_as_many_as_alike(taken: list[TaskRow], at_most: int, model: Model) -> None:
    source = model.rescued or sorted(model.others, key=_order)
    if len(taken) < min(at_most, len(source)):
        assert source[len(taken)][PROCESSOR] != taken[0][PROCESSOR]


@pytest.mark.parametrize("seed", range(20))
def test_order_holds_whatever_goes_in_and_out(seed: int):
    chance = random.Random(seed)
    rows, buffer, model = Rows(chance), Buffer(), Model()

    for _ in range(300):
        _step(chance, rows, buffer, model)

        assert buffer.rows() == model.rows
        assert len(buffer) == len(model.rows)
        assert buffer.first() == (model.rows[0] if model.rows else None)


def test_an_empty_buffer_has_nothing_to_give():
    buffer = Buffer()

    assert not buffer
    assert buffer.first() is None
    assert buffer.take_alike(5) == []
    assert buffer.take_all() == []


def test_a_rescued_task_runs_before_one_of_any_priority():
    buffer = Buffer()
    urgent, rescued = row(1, priority=-100), row(2, priority=100)
    buffer.add([urgent])
    buffer.add_rescued([rescued])

    assert buffer.first() == rescued
    assert buffer.take_alike(2) == [rescued]
    assert buffer.take_alike(2) == [urgent]
