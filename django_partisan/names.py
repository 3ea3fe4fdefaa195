"""Names that rows carry: the default queue, and how long a name may be."""

from typing import Final

DEFAULT_QUEUE: Final = "default"
QUEUE_NAME_MAX_LENGTH: Final = 50
PROCESSOR_NAME_MAX_LENGTH: Final = 255
