"""A throw-away certificate authority, with certificates for a server and a client."""

import subprocess
from pathlib import Path

# Elliptic-curve keys, because RSA keys take long to generate.
NEW = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch")
DAYS = ("-days", "2")


class Certificates:
    """Certificate and key files made in a folder by the ``openssl`` program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca, key = self._files("ca")
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run(*NEW, "-x509", *DAYS, *usage, "-subj", "/CN=ca", "-keyout", key, "-out", self.ca)
        self._authority = ("-CA", self.ca, "-CAkey", key, "-CAcreateserial")
        self.server = self._signed("server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.client = self._signed("client", "extendedKeyUsage=clientAuth")

    def _files(self, name: str) -> tuple[Path, Path]:
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def _signed(self, name: str, extension: str) -> tuple[Path, Path]:
        certificate, key = self._files(name)
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"{extension}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        run(*NEW, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run(
            "x509",
            "-req",
            "-in",
            request,
            *self._authority,
            *DAYS,
            "-extfile",
            extensions,
            "-out",
            certificate,
        )
        return certificate, key


def run(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
