"""Run Django's management commands with the test settings, from any folder."""

import gc
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command given on the command line."""
    # Replaces tests/, which Python puts first because this file is in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    finally:
        gc.freeze()  # otherwise the collection at exit would examine everything that was imported


if __name__ == "__main__":
    main()
