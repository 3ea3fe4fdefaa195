"""The tests' ``flush`` command leaves the same rows as Django's own."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

from tests.app.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def flush(**options: Any) -> None:
    """Flush as Django's test cases do, with ``options`` changed."""
    call_command("flush", **{"verbosity": 0, "interactive": False, "reset_sequences": False, **options})


def made_by_migrate() -> dict[tuple[str, str, str], int]:
    """Return the id of each permission, by application, model and codename."""
    keys = ("content_type__app_label", "content_type__model", "codename")
    return {tuple(key): pk for *key, pk in Permission.objects.values_list(*keys, "pk")}


def test_rows_are_gone_and_those_that_migrate_makes_stay_as_they_are() -> None:
    Note.objects.create(text="a line")
    before = made_by_migrate()

    flush()

    assert not Note.objects.exists()
    assert made_by_migrate() == before


def test_a_permission_that_became_another_is_made_again() -> None:
    before = made_by_migrate()
    Permission.objects.filter(codename="add_note").update(codename="read_note")

    flush()

    assert made_by_migrate().keys() == before.keys()


def test_a_content_type_that_became_another_is_made_again() -> None:
    before = made_by_migrate()
    ContentType.objects.filter(model="note").update(model="remark")

    flush()

    assert made_by_migrate().keys() == before.keys()


@pytest.mark.parametrize("options", [{"reset_sequences": True}, {}])
def test_ids_begin_again_only_where_that_is_asked_for(options: dict[str, bool]) -> None:
    before = Note.objects.create(text="before")

    flush(**options)

    after = Note.objects.create(text="after")
    assert after.pk == (1 if options else before.pk + 1)


def test_nothing_is_made_again_where_that_is_not_wanted() -> None:
    flush(inhibit_post_migrate=True)

    assert not ContentType.objects.exists()
