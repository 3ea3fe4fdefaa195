"""Names in rows: the default queue, the maximum length of names, and the role of a worker."""

from typing import Final

DEFAULT_QUEUE: Final = "default"
QUEUE_NAME_MAX_LENGTH: Final = 50
PROCESSOR_NAME_MAX_LENGTH: Final = 255
WORKER_ROLE: Final = "worker"
"""The ``role`` in ``state`` of the row that a worker without its manager inserts."""
