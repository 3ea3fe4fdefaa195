"""Find, start and query the programs used by the tests with real parts."""

import json
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any

from tests.support.child import NotReady
from tools import parts
from tools.parts.go_programs import PROMETHEUS

HOST = "127.0.0.1"


def program(name: str) -> str:
    """Return the path of a program: of the Prometheus 3 that was built, or else as installed.

    If there is none, raise with the command to install it.
    """
    with suppress(parts.PartMissing):
        if (built := parts.find(PROMETHEUS).with_name(name)).exists():
            return str(built)
    path = shutil.which(name)
    if path is None:
        raise NotReady(
            f"{name} is missing; on Debian: apt-get install prometheus prometheus-alertmanager, "
            f"or run make parts PARTS={PROMETHEUS.name}"
        )
    return path


def free_port() -> int:
    """Return a port that is currently free."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether something accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def get(url: str, **query: Any) -> Any:
    """Return the JSON answer of a server; raise ``NotReady`` with the server's text for an error."""
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NotReady(f"{url} {query}: {error.read().decode()}") from error
