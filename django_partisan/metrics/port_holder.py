"""Find out whether another manager holds the metrics port, as in a rolling restart."""

import http.client
import re
import ssl
from collections.abc import Iterator
from html import unescape
from typing import Final

from django_partisan.metrics.access import TlsFiles

ANSWER_SECONDS: Final = 1.0
TITLE: Final = "django-partisan: {queue}"
"""The title of the index page, by which a manager is recognized."""
PAGE_MAX_BYTES: Final = 4096

_TITLE: Final = re.compile(re.escape(f"<title>{TITLE}</title>").replace(r"\{queue\}", "(.*?)"))


def queue_of_manager_at(
    host: str, port: int, files: TlsFiles, answer_seconds: float = ANSWER_SECONDS
) -> str | None:
    """Return the queue of the manager that answers at a port; ``None`` if no manager answers."""
    for connection in _connections(host, port, files, answer_seconds):
        try:
            connection.request("GET", "/")
            page = connection.getresponse().read(PAGE_MAX_BYTES).decode(errors="replace")
        except TimeoutError:
            return None  # not a manager, which would answer any request
        except (OSError, http.client.HTTPException):
            continue  # it does not use this protocol, or rejects our certificate
        finally:
            connection.close()
        if found := _TITLE.search(page):
            return unescape(found[1])
    return None


def _connections(
    host: str, port: int, files: TlsFiles, seconds: float
) -> Iterator[http.client.HTTPConnection]:
    """Yield connections with and without TLS, ours first: a deploy may just have turned it on or off."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # no secret is sent, and only the title is read
    tls.verify_mode = ssl.CERT_NONE
    if files.certfile is not None:
        tls.load_cert_chain(files.certfile, files.keyfile)  # accepted if the CA of clients signed it
    plain = http.client.HTTPConnection(host, port, timeout=seconds)
    encrypted = http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)
    yield from (plain, encrypted) if files.certfile is None else (encrypted, plain)
