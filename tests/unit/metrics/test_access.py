"""The port, TLS files and the token file: refused with a clear message, or used."""

import socket
from pathlib import Path

import pytest

from django_partisan.metrics import access
from django_partisan.metrics.access import CannotServe, Token


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("  secret\n")
    return path


@pytest.mark.parametrize("authorization", ["Bearer secret", "bearer  secret ", "BEARER secret"])
def test_the_right_token_is_allowed(token_file: Path, authorization: str) -> None:
    assert Token(token_file).allows(authorization)


@pytest.mark.parametrize(
    "authorization",
    ["", "secret", "Bearer", "Basic secret", "Bearer secrets", "Bearer \xff€"],
)
def test_anything_else_is_not(token_file: Path, authorization: str) -> None:
    assert not Token(token_file).allows(authorization)


def test_a_replaced_token_counts_at_once(token_file: Path) -> None:
    token = Token(token_file)
    token_file.write_text("new")

    assert token.allows("Bearer new")
    assert not token.allows("Bearer secret")


@pytest.mark.parametrize("emptied", [True, False])
def test_a_token_file_that_is_emptied_or_gone_allows_nobody(token_file: Path, emptied: bool) -> None:
    token = Token(token_file)
    if emptied:
        token_file.write_text(" \n")
    else:
        token_file.unlink()

    assert not token.allows("Bearer ")
    assert not token.allows("Bearer secret")


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(CannotServe, match=r"token' is empty"):
        Token(tmp_path / "token")


def test_a_missing_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="cannot be read"):
        Token(tmp_path / "token")


def test_without_a_certificate_there_is_no_tls() -> None:
    assert access.tls_context(None, None, None) is None


@pytest.mark.parametrize("files", [(None, "key.pem", None), (None, None, "ca.pem")])
def test_tls_without_a_certificate_is_refused(files: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(CannotServe, match="--metrics-certfile"):
        access.tls_context(*files)


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"cert\.pem"):
        access.tls_context(tmp_path / "cert.pem", None, None)
    (tmp_path / "cert.pem").write_text("garbage")
    with pytest.raises(CannotServe, match=r"cert\.pem"):
        access.tls_context(tmp_path / "cert.pem", None, None)


def test_a_taken_port_is_an_oserror_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of '127.0.0.1': Address already in use"):
            access.listen("127.0.0.1", port)


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(CannotServe, match=r"on 'no\.such\.host\.invalid'"):
        access.listen("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "secure", "start"),
    [("127.0.0.1", False, "http://127.0.0.1:"), ("::1", True, "https://[::1]:")],
)
def test_an_address_is_a_url(host: str, secure: bool, start: str) -> None:
    with access.listen(host, 0) as listener:
        assert access.address_of(listener, secure).startswith(start)
