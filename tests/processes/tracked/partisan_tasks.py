"""Tasks that fail in ways that an error tracker could report twice, or not at all."""

import os
import warnings

import sentry_sdk

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.processor import BaseTaskProcessor


class Refused(Exception):
    """The application's error."""


@registry.register
class Order(BaseTaskProcessor):
    """Raise the error, in the way that the argument names."""

    UNIQUE_FOR_PARAMS = False
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=1, retry_pause=0)

    def run(self) -> None:
        way = self.args[0]
        sentry_sdk.set_tag("way", way)
        if way == "retry":
            raise TimeoutError(way)
        if way == "captured":
            self._refuse_and_capture()
        if way == "forked":
            self._refuse_in_a_child()
        raise Refused(way)

    def _refuse_and_capture(self) -> None:
        try:
            raise Refused("captured")
        except Refused as error:
            sentry_sdk.capture_exception(error)
            raise

    def _refuse_in_a_child(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a worker has threads
            child = os.fork()
        if child == 0:
            raise Refused("in a child")
        os.waitpid(child, 0)


@registry.register
class OrderAsynchronously(BaseTaskProcessor):
    """Raise the error in a coroutine."""

    async def run(self) -> None:
        sentry_sdk.set_tag("way", "asynchronous")
        raise Refused("asynchronous")
