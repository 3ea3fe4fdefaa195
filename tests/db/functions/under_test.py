"""What the tests of the framework's behavior need from a backend; replace it to test another backend."""

from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from django_partisan.testing import drain

_NAME: Final = "django.tasks" if find_spec("django.tasks") else "django_tasks"

framework: Final[Any] = import_module(_NAME)
base: Final[Any] = import_module(f"{_NAME}.base")
exceptions: Final[Any] = import_module(f"{_NAME}.exceptions")
signals: Final[Any] = import_module(f"{_NAME}.signals")
InvalidTask: Final = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
Status: Final = framework.TaskResultStatus


class UnderTest:
    """The backend: its path, and how to run enqueued tasks."""

    PATH = "django_partisan.backend.PartisanBackend"

    @classmethod
    def settings(cls, **params: Any) -> dict[str, Any]:
        """Return a ``TASKS`` setting."""
        return {"default": {"BACKEND": cls.PATH, **params}}

    @staticmethod
    def run(queue_name: str = "default", now: datetime | None = None, alias: str = "default") -> None:
        """Run due tasks in the order of a worker, and the tasks that become due through them.

        ``alias`` is the backend's alias, for backends whose workers serve only one; ours serve all.
        """
        drain(queue_name, now=now, raise_errors=False)
