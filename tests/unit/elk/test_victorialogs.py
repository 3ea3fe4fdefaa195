"""The VictoriaLogs page changes lines that the shipped recipe has, and queries fields that we emit."""

import re

from tests.support.pages import page
from tests.unit.elk import files
from tests.unit.elk.test_templates import TABLE

PAGE = page("docs/victorialogs.md")
RECIPE = (files.ELK / "rsyslog" / "partisan.conf").read_text()


def test_what_the_page_changes_is_in_the_recipe() -> None:
    assert RECIPE.count('template(name="partisan_document" type="string"') == 1
    assert 'server="127.0.0.1" serverport="9200"' in RECIPE
    assert re.findall(r'input\(type="imfile" file="[^"]*(\*\.log[^"]*)"', RECIPE) == ["*.log", "*.log.1"]


def test_every_field_of_its_queries_is_one_of_the_log_table() -> None:
    named = set(re.findall(r"\b((?:event|partisan|service|trace)\.[\w.]*\w)", PAGE))

    assert len(named) > 5
    assert named - {"partisan.conf"} <= TABLE.keys()
