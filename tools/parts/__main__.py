"""Fetch parts: `python -m tools.parts [NAME ... | all]`; without names, those that are quick to fetch."""

import subprocess
import sys

from . import PartMissing, fetch
from .cache import folder_of
from .catalogue import UnknownPart, chosen


def main(names: list[str]) -> int:
    """Fetch each named part that is missing; return 1 if one could not be fetched, 2 for an unknown name."""
    try:
        parts = chosen(names)
    except UnknownPart as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for part in parts:
        try:
            done = fetch(part)
        except (PartMissing, subprocess.CalledProcessError, ValueError, OSError) as error:
            print(f"{part.name} {part.version}: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"{part.name} {part.version} {'fetched into' if done else 'is in'} {folder_of(part)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
