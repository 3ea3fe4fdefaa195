"""Set up Django in the measuring process itself, for measurements without a manager."""

import os
from pathlib import Path

from bench.database import Database
from bench.recorder import FOLDER
from bench.variant import environments


def set_up(database: Database, variant: str, folder: Path) -> None:
    """Create the schema in an empty database, with a variant's settings; task bodies write to the folder."""
    os.environ.update(database.environment() | environments()[variant])
    os.environ.update({FOLDER: str(folder), "DJANGO_SETTINGS_MODULE": "bench.settings"})
    import django
    from django.core.management import call_command

    database.recreate()
    django.setup()
    call_command("migrate", verbosity=0)
