"""Who holds a port that we want: another manager, which ends in a rolling restart, or anybody else."""

import http.client
import re
import ssl
from collections.abc import Iterator
from html import unescape
from typing import Final

from django_partisan.metrics.access import TlsFiles

ANSWER_SECONDS: Final = 1.0
TITLE: Final = "django-partisan: {queue}"
"""What the page with the links is called, by which a manager is recognised."""
PAGE_MAX_BYTES: Final = 4096

_TITLE: Final = re.compile(re.escape(f"<title>{TITLE}</title>").replace(r"\{queue\}", "(.*?)"))


def queue_of_manager_at(
    host: str, port: int, files: TlsFiles, answer_seconds: float = ANSWER_SECONDS
) -> str | None:
    """Return which queue's manager answers at a port; ``None`` if nobody does, or somebody else."""
    for connection in _connections(host, port, files, answer_seconds):
        try:
            connection.request("GET", "/")
            page = connection.getresponse().read(PAGE_MAX_BYTES).decode(errors="replace")
        except TimeoutError:
            return None  # a manager answers, also to what it does not understand
        except (OSError, http.client.HTTPException):
            continue  # it does not speak so, or not to us
        finally:
            connection.close()
        if found := _TITLE.search(page):
            return unescape(found[1])
    return None


def _connections(
    host: str, port: int, files: TlsFiles, seconds: float
) -> Iterator[http.client.HTTPConnection]:
    """Yield connections with and without TLS, which a deploy may just have switched; ours first."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # no secret is sent, and nothing is believed but whose page it is
    tls.verify_mode = ssl.CERT_NONE
    if files.certfile is not None:
        tls.load_cert_chain(files.certfile, files.keyfile)  # enough where the CA of clients signed it
    plain = http.client.HTTPConnection(host, port, timeout=seconds)
    encrypted = http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)
    yield from (plain, encrypted) if files.certfile is None else (encrypted, plain)
