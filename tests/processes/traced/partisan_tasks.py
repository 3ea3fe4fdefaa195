"""Tasks that enqueue tasks, run again, and fail."""

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor
from django_partisan.registry import register


@register
class Spread(BaseTaskProcessor):
    """Enqueue as many tasks as the argument says."""

    def run(self) -> None:
        for number in range(self.args[0]):
            Leaf(number).delay()


@register
class Leaf(BaseTaskProcessor):
    def run(self) -> None:
        """Do nothing."""


@register
class Again(BaseTaskProcessor):
    """Postpone, then fail, then complete."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([ValueError], retries_count=1, retry_pause=0)

    def run(self) -> None:
        if self.task.postpones == 0:
            raise PostponeTask(0, "not yet")
        if self.task.retries == 0:
            raise ValueError("odd")


@register
class Broken(BaseTaskProcessor):
    """Log something, and fail."""

    def run(self) -> None:
        self.log.info("about to fail")
        raise LookupError("no such thing")
