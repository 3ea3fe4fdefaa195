"""A module whose import fails because it imports a module that does not exist."""

import no_module_has_this_name  # type: ignore[import-not-found]  # noqa: F401


def run() -> None:
    """Do nothing."""
