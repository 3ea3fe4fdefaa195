"""Who may scrape: the port, TLS and the token."""

import hmac
import os
import socket
import ssl
from pathlib import Path
from typing import Final, TypeAlias

from django_partisan.exceptions import PartisanError

TLS_MIN: Final = ssl.TLSVersion.TLSv1_2
AUTHENTICATE: Final = 'Bearer realm="django-partisan metrics"'

AnyPath: TypeAlias = str | os.PathLike[str]


class CannotServe(PartisanError, OSError):
    """The metrics cannot be served; the message says why."""


class Token:
    """The bearer token in a file; read for each request, so that it can be replaced."""

    def __init__(self, path: AnyPath) -> None:
        """Use the file at ``path``; raises ``CannotServe`` if it holds no token now."""
        self._path = Path(path)
        try:
            token = self._read()
        except OSError as error:
            raise CannotServe(f"The metrics token file {str(path)!r} cannot be read: {error}") from error
        if not token:
            raise CannotServe(f"The metrics token file {str(path)!r} is empty.")

    def allows(self, authorization: str) -> bool:
        """Tell whether a request's ``Authorization`` carries the token."""
        scheme, _, given = authorization.partition(" ")
        try:
            token = self._read()
        except OSError:  # closed, not open, while the file is away
            return False
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token)
        return right and bool(token) and scheme.lower() == "bearer"

    def _read(self) -> bytes:
        return self._path.read_bytes().strip()


def tls_context(
    certfile: AnyPath | None, keyfile: AnyPath | None, client_ca: AnyPath | None
) -> ssl.SSLContext | None:
    """Return the TLS settings, or ``None`` without a certificate.

    A ``client_ca`` demands a client certificate that it signed. Raises ``CannotServe``.
    """
    if certfile is None:
        if keyfile is not None or client_ca is not None:
            raise CannotServe(
                "A key or a client CA for the metrics needs a certificate: give --metrics-certfile."
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = TLS_MIN
    try:
        context.load_cert_chain(certfile, keyfile)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        files = ", ".join(repr(str(path)) for path in (certfile, keyfile, client_ca) if path is not None)
        raise CannotServe(f"The TLS files for the metrics cannot be used ({files}): {error}") from error
    return context


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the first address of ``host``; raises ``CannotServe``."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotServe(f"Cannot serve metrics on {host!r}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"Cannot serve metrics on port {port} of {host!r}: {error.strerror or error}. "
            "Choose another --metrics-port, or end what uses it."
        ) from error
    return listener


def address_of(listener: socket.socket, secure: bool) -> str:
    """Return the URL of a bound socket, with its numeric address."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}"
