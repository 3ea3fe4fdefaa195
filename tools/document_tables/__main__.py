"""Write the tables of the documentation from the code; `--check` only lists outdated pages."""

import argparse
import os
import sys

import django


def main() -> int:
    """Write or check; return 1 if `--check` finds a table that differs from the code."""
    parser = argparse.ArgumentParser(prog="python -m tools.document_tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table differs")
    check = parser.parse_args().check
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tools.document_tables.pages import out_of_date

    pages = out_of_date()
    for path, text in pages.items():
        if not check:
            path.write_text(text)
        print(f"{path}: {'differs from the code' if check else 'written'}")
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
