"""The buffer: rescued tasks come first, then by priority, then in the order of enqueueing."""

import random
from itertools import islice, takewhile

import pytest

from django_partisan.engine.manager.buffer import Buffer
from django_partisan.sql.claiming import ID, PRIORITY, PROCESSOR, TaskRow
from tests.support.rows import task_row


def in_running_order(rows: list[TaskRow]) -> list[TaskRow]:
    return sorted(rows, key=lambda row: (row[PRIORITY], row[ID]))


class Model:
    """A buffer and a simple, slow model of it; each step is applied to both."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ids = list(range(10_000))
        self.chance.shuffle(self.ids)
        self.buffer = Buffer()
        self.rescued: list[TaskRow] = []
        self.others: list[TaskRow] = []

    @property
    def rows(self) -> list[TaskRow]:
        return self.rescued + in_running_order(self.others)

    def some(self) -> list[TaskRow]:
        return [
            task_row(self.ids.pop(), self.chance.choice("AB"), priority=self.chance.randrange(3))
            for _ in range(self.chance.randrange(6))
        ]

    def remove(self, rows: list[TaskRow]) -> None:
        self.rescued = [one for one in self.rescued if one not in rows]
        self.others = [one for one in self.others if one not in rows]

    def add(self) -> None:
        added = in_running_order(self.some())
        self.buffer.add(added)
        self.others += added

    def put_back(self) -> None:
        returned = self.some()
        self.buffer.put_back(returned)
        self.others += returned

    def rescue(self) -> None:
        rescued = self.some()
        self.buffer.add_rescued(rescued)
        self.rescued += rescued

    def take(self) -> None:
        source = self.rescued or in_running_order(self.others)
        at_most = self.chance.randrange(1, 5)
        alike = takewhile(lambda row: row[PROCESSOR] == source[0][PROCESSOR], source)
        expected = list(islice(alike, at_most))
        assert self.buffer.take_same_processor(at_most) == expected
        self.remove(expected)

    def take_last(self) -> None:
        number = self.chance.randrange(4)
        expected = in_running_order(self.others)[-number:] if number else []
        assert self.buffer.take_last(number) == expected
        self.remove(expected)

    def drop_some(self) -> None:
        lost = [one for one in self.rows if self.chance.random() < 0.3]
        self.remove(lost)
        self.buffer.drop({one[ID] for one in lost})

    def take_all(self) -> None:
        assert self.buffer.take_all() == self.rows
        self.remove(self.rows)


@pytest.mark.parametrize("seed", range(20))
def test_the_rescued_come_first_then_by_priority_then_by_id_whatever_goes_in_and_out(seed: int):
    model = Model(seed)
    often = [model.add, model.put_back, model.rescue, *[model.take] * 3] * 10

    for step in model.chance.choices([*often, model.take_last, model.drop_some, model.take_all], k=300):
        step()

        assert model.buffer.rows() == model.rows
        assert (len(model.buffer), model.buffer.rescued) == (len(model.rows), len(model.rescued))
        assert model.buffer.first() == (model.rows[0] if model.rows else None)
