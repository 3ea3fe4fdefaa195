"""Run Django's commands on the settings of the tests, from any folder."""

import gc
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command on the command line."""
    # Instead of tests/, which Python puts there because this file is in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    finally:
        gc.freeze()  # or the end of the process would look at all that was imported once more


if __name__ == "__main__":
    main()
