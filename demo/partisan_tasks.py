"""The processors: what you would write in your own project.

django-partisan finds this module by its name, in every installed application.
"""

import json
from http.client import HTTPConnection, HTTPException
from time import perf_counter
from urllib.parse import quote

from django.conf import settings

from demo import library
from demo.models import IndexedFile, Package
from django_partisan import registry
from django_partisan.config import const
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor


@registry.register
class IndexFile(BaseTaskProcessor):
    """Count the lines and definitions of a Python file. Syntax errors are not retried."""

    # The result and the task's completion are committed together or not at all.
    ATOMIC = True

    def run(self) -> None:
        started = perf_counter()
        path = self.kwargs["path"]
        counts = library.count(path)
        IndexedFile.objects.update_or_create(
            path=path,
            defaults={
                "package": library.package_of(path),
                "is_test": library.is_test(path),
                "lines": counts.lines,
                "functions": counts.functions,
                "classes": counts.classes,
                "seconds": perf_counter() - started,
            },
        )


class CatalogueError(Exception):
    """The catalogue answered with an error."""


@registry.register
class ImportPackage(BaseTaskProcessor):
    """Ask the catalogue for the description of a package. It fails sometimes, so errors are retried."""

    PRIORITY = 5  # before the files, whose priority is the default of 10
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig(
        retry_on_errors=[CatalogueError, HTTPException, OSError],
        retries_count=5,
        retry_pause=1,
        retry_pause_strategy=const.DELAY_STRATEGY_INCREMENTAL,  # 1, 2, 3 ... seconds
    )

    def run(self) -> None:
        name = self.kwargs["name"]
        connection = HTTPConnection(settings.DEMO_CATALOGUE, timeout=10)
        try:
            connection.request("GET", "/" + quote(name))
            response = connection.getresponse()
            if response.status != 200:
                raise CatalogueError(f"{response.status} {response.reason}")
            summary = json.load(response)["summary"]
        finally:
            connection.close()
        Package.objects.update_or_create(name=name, defaults={"summary": summary})


@registry.register
class WriteReport(BaseTaskProcessor):
    """Write `report.html` when all tasks that were enqueued earlier have ended."""

    PRIORITY = 1
    POSTPONE_CONFIG = PostponeConfig(max_postpones=None)  # without limit

    def run(self) -> None:
        from demo import report

        earlier = Task.objects.filter(id__lt=self.task.id)
        unfinished = earlier.waiting().count() + earlier.in_process().count()
        if unfinished:
            raise PostponeTask(1, reason=f"{unfinished} earlier tasks have not ended")
        report.write(settings.DEMO_OUTPUT / "report.html")
