"""The process that counts the scenarios of one variant: `python -m bench.budget.counting SCENARIO ...`.

It prints one line of JSON and ends at once, with all its threads.
"""

import faulthandler
import gc
import json
import os
import sys

from bench.budget.laboratory import Laboratory

HANGS_SECONDS = 540
"""After this time it prints where each of its threads is, and ends; sooner than a test that waits for it."""


def main() -> None:
    """Count, print, end."""
    faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
    laboratory = Laboratory()  # first: what is imported now keeps the clocks and waits that it finds
    _set_up(laboratory)
    from bench.budget.scenarios import CALLS

    for name in sys.argv[1:]:
        CALLS[name](laboratory, name)
    print(json.dumps(laboratory.counts), flush=True)
    os._exit(0)


def _set_up(laboratory: Laboratory) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    import django

    django.setup()
    laboratory.set_up(_migrate)

    from bench.budget.crew import watch_messages

    watch_messages(laboratory.note_message)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection runs finalizers, at a moment that depends on everything before


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    connection.close()


if __name__ == "__main__":
    main()
