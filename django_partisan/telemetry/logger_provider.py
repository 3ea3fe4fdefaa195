"""Find OpenTelemetry's provider for log lines, if one is set up; its API is not public yet."""

import sys
from typing import Any


def logger_provider() -> Any:
    """Return the provider of this process; ``None`` if its API is not loaded."""
    api: Any = sys.modules.get("opentelemetry._logs")
    return None if api is None else api.get_logger_provider()
