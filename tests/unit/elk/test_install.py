"""The installer detects the kind of server, and says what to do where it cannot install.

`tests/real_parts/test_templates.py` runs it on a real OpenSearch.
"""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.commands import run
from tests.unit.elk import files
from tools.bulk_endpoint import BulkEndpoint

SCRIPT = str(files.ELK / "elasticsearch" / "install.sh")

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[BulkEndpoint]:
    """A server that identifies itself as Elasticsearch 9.1.4."""
    with BulkEndpoint() as endpoint:
        yield endpoint


def install(url: str) -> "subprocess.CompletedProcess[str]":
    return run("sh", SCRIPT, url)


def test_elasticsearch_gets_the_template_that_composes_its_own_parts_and_nobodys_are_made(server):
    done = install(f"{server.url}/")

    assert (done.returncode, done.stderr) == (0, "")
    assert server.templates == {
        "/_component_template/partisan@mappings": files.read_json("elasticsearch/component-template.json"),
        "/_index_template/logs-partisan": files.read_json("elasticsearch/index-template.json"),
    }


@pytest.mark.parametrize(
    ("root", "complaint"),
    [
        ({"version": {"number": "8.16.9"}}, "is Elasticsearch 8.16; 8.17 or later is needed"),
        ({"version": {"number": "7.17.9"}}, "is Elasticsearch 7.17; 8.17 or later is needed"),
        (
            {"version": {"distribution": "opensearch", "number": "2.14.0"}},
            "is OpenSearch 2.14; 2.15 or later is needed",
        ),
        ({"status": "UP"}, "is neither Elasticsearch nor OpenSearch"),
    ],
)
def test_another_server_is_refused_before_anything_is_stored(server, root, complaint):
    server.root = root

    done = install(server.url)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert server.templates == {}


@pytest.mark.parametrize(
    "root",
    [
        {"version": {"number": "8.17.0"}, "cluster_name": "opensearch"},
        {"version": {"number": "10.0.0"}},
        {"version": {"distribution": "opensearch", "number": "3.0.0"}},
        {"version": {"number": "7.10.2"}, "tagline": "The OpenSearch Project: https://opensearch.org/"},
    ],
)
def test_later_versions_are_accepted_and_an_opensearch_under_a_borrowed_version(server, root):
    server.root = root

    done = install(server.url)

    assert done.returncode == 0, done.stderr
    is_opensearch = "opensearch" in str({**root, "cluster_name": ""}).lower()
    assert ("ignore_missing_component_templates" in server.templates["/_index_template/logs-partisan"]) != (
        is_opensearch
    )


def test_missing_rights_are_explained(server):
    server.mode = "401"

    done = install(server.url)

    assert done.returncode == 1
    assert "was refused with status 401" in done.stderr
    assert "Use an account that is allowed to manage index templates" in done.stderr


def test_a_server_that_does_not_answer_is_named(server):
    done = install("http://127.0.0.1:9")

    assert done.returncode == 1
    assert "http://127.0.0.1:9 does not answer. Check the URL" in done.stderr
