"""The process that counts the scenarios of one variant: `python -m bench.budget.counting SCENARIO ...`.

It prints one line of JSON and ends at once, with all its threads.
"""

import faulthandler
import gc
import json
import os
import sys

from bench.budget.scenario_counter import ScenarioCounter

HANGS_SECONDS = 540
"""After this time, the process prints the stacks of its threads and ends, before tests give up waiting."""


def main() -> None:
    """Count the scenarios, print the result and end the process."""
    faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
    counter = ScenarioCounter()  # before other imports, which would keep the real clocks and waits
    _set_up(counter)
    from bench.budget.scenarios import CALLS

    for name in sys.argv[1:]:
        CALLS[name](counter, name)
    print(json.dumps(counter.counts), flush=True)
    os._exit(0)


def _set_up(counter: ScenarioCounter) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    import django

    django.setup()
    counter.set_up(_migrate)

    from bench.budget.thread_spawner import watch_messages

    watch_messages(counter.note_message)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection runs finalizers at a time that depends on everything before


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    connection.close()


if __name__ == "__main__":
    main()
