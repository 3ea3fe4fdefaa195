"""Restrict access to metrics, with TLS and a bearer token."""

import hmac
import os
import ssl
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from django_partisan.exceptions import PartisanError

AUTHENTICATE: Final = 'Bearer realm="django-partisan metrics"'

AnyPath: TypeAlias = str | os.PathLike[str]


class CannotServe(PartisanError, OSError):
    """The port, the TLS files or the token file cannot be used; the message gives the reason."""


class PortInUse(CannotServe):
    """Another socket is bound to the port."""


class TlsFiles(NamedTuple):
    """The TLS files of a server; without a certificate, the server does not use TLS."""

    certfile: AnyPath | None = None
    keyfile: AnyPath | None = None
    client_ca: AnyPath | None = None


class Token:
    """The bearer token in a file, which is read for each request so that it can be replaced."""

    def __init__(self, path: AnyPath) -> None:
        """Use the file at ``path``; raises ``CannotServe`` if it contains no token."""
        self._path = Path(path)
        try:
            token = self._read()
        except OSError as error:
            raise CannotServe(
                f"The metrics token file {str(path)!r} cannot be read: {error.strerror or error}. "
                "Correct --metrics-token-file or METRICS_TOKEN_FILE, or let this user read the file."
            ) from error
        if not token:
            raise CannotServe(
                f"The metrics token file {str(path)!r} is empty. Write the token into it, on one line."
            )

    def allows(self, authorization: str) -> bool:
        """Return whether a request's ``Authorization`` carries the token."""
        scheme, _, given = authorization.partition(" ")
        try:
            token = self._read()
        except OSError:  # without the file, no token is valid
            return False
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token)
        return right and bool(token) and scheme.lower() == "bearer"

    def _read(self) -> bytes:
        return self._path.read_bytes().strip()


def tls_context(
    certfile: AnyPath | None, keyfile: AnyPath | None, client_ca: AnyPath | None
) -> ssl.SSLContext | None:
    """Return the TLS settings, or ``None`` without a certificate.

    With a ``client_ca``, clients need a certificate that it signed. Raises ``CannotServe``.
    """
    if certfile is None:
        if keyfile is not None or client_ca is not None:
            raise CannotServe(
                "A key or a client CA for the metrics needs a certificate: give --metrics-certfile."
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile, password=_refuse_passphrase)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        files = ", ".join(repr(str(path)) for path in (certfile, keyfile, client_ca) if path is not None)
        raise CannotServe(
            f"The TLS files for the metrics cannot be used ({files}): {error.strerror or error}. "
            "Give readable PEM files with --metrics-certfile, --metrics-keyfile and --metrics-client-ca."
        ) from error
    return context


def _refuse_passphrase() -> str:
    """Refuse a key with a passphrase: OpenSSL would ask for it at the terminal, or wait forever."""
    raise OSError("the key is encrypted")
