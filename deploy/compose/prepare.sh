#!/bin/sh
# Creates the tables and the demo's user. Not run in our tests.
set -eu
python -m demo.manage migrate --no-input
DJANGO_SUPERUSER_PASSWORD=demo python -m demo.manage createsuperuser \
    --no-input --username demo --email demo@example.org || echo "the user demo already exists"
