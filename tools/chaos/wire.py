"""Parse PostgreSQL's protocol, to find out which statement is sent and when its answer is complete.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import re
import struct
from collections.abc import Iterator

STARTUP_HEADER = struct.Struct("!ii")
LENGTH = struct.Struct("!i")
ENCRYPTION_REQUESTS = frozenset((80877103, 80877104))
"""SSLRequest and GSSENCRequest. The proxy refuses both, because it could not read encrypted data."""
CANCEL_REQUEST = 80877102
REFUSED = b"N"

QUERY, PARSE, BIND, SYNC, TERMINATE = b"Q", b"P", b"B", b"S", b"X"
READY_FOR_QUERY = b"Z"

STATEMENTS = {
    "commit": re.compile(r"^\s*COMMIT\b", re.IGNORECASE),
    "register": re.compile(r"INSERT INTO (?:\w+\.)?django_partisan_manager\b"),
    "heartbeat": re.compile(r"UPDATE (?:\w+\.)?django_partisan_manager SET heartbeat_at"),
    "rescue": re.compile(
        r"NOT EXISTS \(SELECT FROM (?:\w+\.)?django_partisan_manager.*FOR UPDATE OF task", re.DOTALL
    ),
    "claim": re.compile(r"SET status = 'in_process', ready = false|EXECUTE partisan_claim_"),
    "settle": re.compile(
        r"task\.id = outcome\.id AND .{0,60}task\.claim_token = outcome\.token"
        r"|EXECUTE partisan_(?:delete|finish|apply)_"
    ),
    "enqueue": re.compile(r"INSERT INTO (?:\w+\.)?django_partisan_task\b"),
}
"""Patterns of the statements for which losses can be planned, by name."""
PREPARATION = re.compile(r"\bPREPARE partisan_")
"""The pattern of a statement that only prepares one of them."""


def name_of(statement: str) -> str | None:
    """Return the name of a statement, or `None` if no pattern matches."""
    if PREPARATION.search(statement):
        return None
    return next((name for name, pattern in STATEMENTS.items() if pattern.search(statement)), None)


class Messages:
    """Splits received data into complete messages with their headers."""

    def __init__(self, begins_with_startup: bool = False) -> None:
        self._rest = bytearray()
        self._expects_startup = begins_with_startup

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add data and yield the messages that are now complete."""
        self._rest += data
        while (size := self._size()) is not None and len(self._rest) >= size:
            message = bytes(self._rest[:size])
            del self._rest[:size]
            if self._expects_startup and startup_code(message) not in ENCRYPTION_REQUESTS:
                self._expects_startup = False
            yield message

    def _size(self) -> int | None:
        type_bytes = 0 if self._expects_startup else 1
        if len(self._rest) < type_bytes + LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._rest, type_bytes)
        return int(length) + type_bytes


def startup_code(message: bytes) -> int:
    """Return the code of a startup message."""
    return int(STARTUP_HEADER.unpack_from(message)[1])


def application_name(startup: bytes) -> str:
    """Return the application name in a startup message."""
    fields = startup[STARTUP_HEADER.size :].split(b"\0")
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return named.get(b"application_name", b"").decode(errors="replace")


class Statements:
    """Tracks the statements that a client sends, as simple queries or as prepared statements."""

    def __init__(self) -> None:
        self._prepared: dict[bytes, str | None] = {}

    def sent(self, message: bytes) -> str | None:
        """Return the name of the statement that a message executes, if it has one."""
        kind, body = message[:1], message[5:]
        if kind == QUERY:
            return name_of(body.rstrip(b"\0").decode(errors="replace"))
        if kind == PARSE:
            name, statement, _ = body.split(b"\0", 2)
            self._prepared[name] = name_of(statement.decode(errors="replace"))
        if kind == BIND:
            _portal, name, _ = body.split(b"\0", 2)
            return self._prepared.get(name)
        return None
