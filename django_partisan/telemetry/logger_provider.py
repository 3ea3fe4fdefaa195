"""Find OpenTelemetry's provider for log lines, if one is set up; its API is not public yet."""

import sys
from typing import Any, Final

_API: Final = "opentelemetry._logs"


def logger_provider() -> Any:
    """Return the provider of this process; ``None`` if its API is not loaded."""
    api: Any = sys.modules.get(_API)
    return None if api is None else api.get_logger_provider()
