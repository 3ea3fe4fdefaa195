"""The measured task. Its body only records that it ran."""

import importlib
import os
from typing import Any

from django.conf import settings

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor

# In the peers' harness, use the harness's recorder, so that recording costs the same for every queue.
recorder: Any = importlib.import_module("rec" if "PEERS_LIB" in os.environ else "bench.recorder")


@registry.register
class Bench(BaseTaskProcessor):
    UNIQUE_FOR_PARAMS = settings.PARTISAN_BENCH_UNIQUE

    def run(self) -> None:
        recorder.hit(self.kwargs["i"], self.kwargs["m"])
