"""A small HTTP server in a thread, which no client can hold up for another.

One thread serves every connection, so a slow client costs a few kilobytes and no thread. Connections
are few and each has a deadline; when there are too many, the oldest makes room.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from functools import partial
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
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="partisan-metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._listener.listen()
        self._listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Close every connection and end the thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout)
        self._listener.close()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        loop.set_exception_handler(lambda _loop, _context: None)  # broken clients are no news
        loop.add_reader(self._listener, self._accept, loop)
        try:
            loop.run_forever()
            loop.remove_reader(self._listener)
            loop.run_until_complete(self._close_connections())
        finally:
            loop.close()

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # the client is gone already
            return
        except OSError:  # out of descriptors, most likely
            loop.remove_reader(self._listener)
            loop.call_later(ACCEPT_PAUSE_SECONDS, loop.add_reader, self._listener, self._accept, loop)
            return
        while len(self._connections) >= CONNECTIONS_MAX:
            self._evict(next(iter(self._connections)))
        task = loop.create_task(self._serve(client))
        self._connections[task] = client
        task.add_done_callback(partial(self._forget, client))

    def _evict(self, task: asyncio.Task[None]) -> None:
        client = self._connections.pop(task)
        # Before Python 3.12 a task may miss that it is cancelled; the end of the stream it cannot miss.
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        task.cancel()

    def _forget(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        # Here, not in the task: one that is cancelled before its first step runs nothing of its own.
        client.close()
        self._connections.pop(task, None)

    async def _close_connections(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            self._evict(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            streams = await asyncio.wait_for(self._open(client), REQUEST_SECONDS)
            writer = streams[1]
            await self._converse(*streams)
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # the client went away, spoke no TLS, or was too slow
        except Exception:
            self._on_error()
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _open(self, client: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        reader = asyncio.StreamReader(limit=HEAD_BYTES_MAX, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=self._tls)
        transport.set_write_buffer_limits(0)  # so that drained means sent
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

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
        except BadRequest:
            raise
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
