"""A process forked by a task keeps nothing that it would share with its worker."""

import threading

import django
import pytest
from django.db.backends.postgresql.base import DatabaseWrapper

from django_partisan.engine.worker import children


class Pool:
    """A connection pool that a child must not close: that would end its worker's sessions."""

    def close(self) -> None:
        raise AssertionError


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django has pools from 5.1 on")
def test_a_child_drops_the_pools_of_its_worker_without_closing_them(monkeypatch: pytest.MonkeyPatch):
    pools = {"default": Pool()}
    monkeypatch.setattr(DatabaseWrapper, "_connection_pools", pools)
    before = dict(pools)
    forked = threading.Thread(target=children._forget_connections)  # with no connection initialized

    forked.start()
    forked.join()

    assert pools == {}
    assert children._inherited.pop() == before
