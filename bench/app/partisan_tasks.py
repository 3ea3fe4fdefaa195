"""The task that is measured: an empty body that takes note of its run."""

import importlib
import os
from typing import Any

from django.conf import settings

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor

# In the peers' harness their recorder takes the notes, so that every queue pays the same for them.
recorder: Any = importlib.import_module("rec" if "PEERS_LIB" in os.environ else "bench.recorder")


@registry.register
class Bench(BaseTaskProcessor):
    UNIQUE_FOR_PARAMS = settings.PARTISAN_BENCH_UNIQUE

    def run(self) -> None:
        recorder.hit(self.kwargs["i"], self.kwargs["m"])
