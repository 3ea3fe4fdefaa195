"""A small HTTP server in a thread, which no client can hold up for another.

One thread serves every connection, so a slow client costs a few kilobytes and no thread. Connections
are few and each has a deadline; when there are too many, the oldest makes room.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

CONNECTIONS_MAX: Final = 64
REQUEST_SECONDS: Final = 5.0
"""Longest time from the connection to the end of the request's head."""
ANSWER_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 2.0
HEAD_BYTES_MAX: Final = 16_384
ACCEPT_PAUSE_SECONDS: Final = 0.5

REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(NamedTuple):
    """A request's head; names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class Response(NamedTuple):
    """An answer; ``Content-Length`` and ``Connection`` are added."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class BadRequest(Exception):
    """What came is no request that we read; carries the status to answer with."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Server:
    """Answer requests with ``answer``, from ``start()`` to ``stop()``."""

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Request], Awaitable[Response]],
        tls: ssl.SSLContext | None,
        on_error: Callable[[], None],
    ) -> None:
        """Serve on a bound ``listener``; ``on_error`` is called inside an ``except``."""
        self._listener = listener
        self._answer = answer
        self._tls = tls
        self._on_error = on_error
        self._connections: dict[asyncio.Task[None], None] = {}
        self._accepting: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="partisan-metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._listener.listen(CONNECTIONS_MAX)
        self._listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._accepting = self._loop.create_task(self._accept())
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Close every connection and end the thread."""
        if self._accepting is not None:
            self._loop.call_soon_threadsafe(self._accepting.cancel)
            self._thread.join(timeout)
        self._listener.close()

    def _run(self) -> None:
        self._loop.set_exception_handler(lambda _loop, _context: None)  # broken clients are no news
        try:
            self._loop.run_until_complete(self._accept_until_cancelled())
            self._loop.run_until_complete(self._close_connections())
        finally:
            self._loop.close()

    async def _accept_until_cancelled(self) -> None:
        if self._accepting is not None:
            await asyncio.wait([self._accepting])

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # out of descriptors, or the client is gone already
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            if len(self._connections) >= CONNECTIONS_MAX:
                next(iter(self._connections)).cancel()
            task = self._loop.create_task(self._serve(client))
            self._connections[task] = None
            task.add_done_callback(self._connections.pop)

    async def _close_connections(self) -> None:
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, client: socket.socket) -> None:
        transport: asyncio.Transport | None = None
        try:
            client.setblocking(False)
            reader = asyncio.StreamReader(limit=HEAD_BYTES_MAX, loop=self._loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
            connecting = self._loop.connect_accepted_socket(lambda: protocol, client, ssl=self._tls)
            transport, _ = await asyncio.wait_for(connecting, REQUEST_SECONDS)
            transport.set_write_buffer_limits(0)  # so that drained means sent
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            await self._converse(reader, writer)
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # the client went away, spoke no TLS, or was too slow
        except Exception:
            self._on_error()
        finally:
            if transport is not None:
                transport.abort()
            client.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            request = await asyncio.wait_for(read_head(reader), REQUEST_SECONDS)
            method = request.method
            response = await asyncio.wait_for(self._respond(request), ANSWER_SECONDS)
        except BadRequest as error:
            response = plain(error.status, REASONS[error.status])
        writer.write(head_of(response))
        if method != "HEAD":
            writer.write(response.body)
        await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)
        await asyncio.wait_for(_close(reader, writer), CLOSE_SECONDS)

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except Exception:
            self._on_error()
            return plain(500, REASONS[500])


async def read_head(reader: asyncio.StreamReader) -> Request:
    """Read a request up to its empty line; raises ``BadRequest``, or ``EOFError`` if nothing came."""
    lines: list[bytes] = []
    size = 0
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # longer than the reader's limit
            raise BadRequest(431) from None
        size += len(line)
        if size > HEAD_BYTES_MAX:
            raise BadRequest(431)
        if not line.endswith(b"\n"):
            raise BadRequest(400) if size else EOFError
        if not line.strip():
            break
        lines.append(line)
        if len(lines) == 1:
            _request_line(line)  # answer garbage at once
    if not lines:
        raise BadRequest(400)
    method, target = _request_line(lines[0])
    return Request(method, target, dict(_header(line) for line in lines[1:]))


def _request_line(line: bytes) -> tuple[str, str]:
    try:
        method, target, version = line.decode("ascii").split()
    except ValueError:
        raise BadRequest(400) from None
    if not version.startswith("HTTP/1.") or not method.isalpha():
        raise BadRequest(400)
    return method, target


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon:
        raise BadRequest(400)
    return name.strip().lower(), value.strip()


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of one paragraph."""
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode(), headers)


def head_of(response: Response) -> bytes:
    """Return an answer's head as bytes."""
    lines = [
        f"HTTP/1.1 {response.status} {REASONS[response.status]}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the client did: what it sent and nobody read would cut off the answer."""
    if writer.can_write_eof():
        writer.write_eof()
        while await reader.read(HEAD_BYTES_MAX):
            pass
    writer.close()
    await writer.wait_closed()
