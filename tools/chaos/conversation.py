"""One client's connection through the proxy, and the losses that can be injected into it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import wire

if TYPE_CHECKING:
    from .proxy import Route

CHUNK_BYTES = 65_536
CONNECT_SECONDS = 5.0
EXECUTION_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: close() sends RST instead of FIN."""

ANSWER = "answer"
"""The server executes the statement and commits; its answer is lost, and the connection is reset."""
REQUEST = "request"
"""The connection is reset before the server gets the statement."""
LATE = "late"
"""The connection is reset at once; the server receives and executes the statement some time later."""


@dataclass
class Loss:
    """A loss for the next statements with a name: its kind, how often it happens, and when it happened."""

    statement: str
    what: str
    delay_seconds: float = 0.0
    times: int = 1
    happened_at: list[float] = field(default_factory=list)


class Conversation:
    """The forwarding of data between a client and the server."""

    def __init__(self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.application = ""
        self.is_silent = False
        self._route = route
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._statements = wire.Statements()
        self._loss: Loss | None = None
        self._held: list[bytes] = []
        self._answered = asyncio.Event()

    async def run(self, host: str, port: int) -> None:
        """Forward in both directions until one side closes its connection."""
        directions: list[asyncio.Task[None]] = []
        try:
            await self._route.flowing.wait()
            self._server = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SECONDS)
            directions = [asyncio.ensure_future(self._to_server()), asyncio.ensure_future(self._to_client())]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.TimeoutError):
            pass  # the server is down; the client's connection is closed
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self._close()

    def reset(self) -> None:
        """Reset both connections."""
        for side in (self._client, self._server):
            if side is not None:
                _reset(side[1])

    async def _to_server(self) -> None:
        reader, client = self._client
        assert self._server is not None
        messages = wire.Messages(begins_with_startup=True)
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._pass()
                for message in messages.feed(data):
                    if not self.application and self._is_startup(message, client):
                        continue
                    self._notice(message)
                    if self._loss is not None and self._loss.what == REQUEST:
                        self.reset()
                        return
                    if self._loss is not None and self._loss.what == LATE:
                        self._held.append(message)
                        if message[:1] in (wire.QUERY, wire.SYNC):
                            await self._execute_late(self._loss.delay_seconds)
                            return
                    elif not self.is_silent:
                        self._server[1].write(message)
                await self._server[1].drain()

    def _is_startup(self, message: bytes, client: asyncio.StreamWriter) -> bool:
        """Handle a startup message; return True if it must not be forwarded to the server."""
        code = wire.startup_code(message)
        if code in wire.ENCRYPTION_REQUESTS:
            client.write(wire.REFUSED)
            return True
        self.application = "cancel" if code == wire.CANCEL_REQUEST else wire.application_name(message) or "?"
        return False

    def _notice(self, message: bytes) -> None:
        """Check whether a message is a statement for which a loss is planned."""
        statement = self._statements.sent(message)
        if self._loss is None and statement is not None and not self.is_silent:
            self._loss = self._route.take_loss(statement)

    async def _execute_late(self, seconds: float) -> None:
        """Reset the client's connection, and forward its statement to the server after a while."""
        assert self._server is not None
        _reset(self._client[1])
        await asyncio.sleep(seconds)
        for message in self._held:
            self._server[1].write(message)
        await self._server[1].drain()
        with contextlib.suppress(asyncio.TimeoutError):  # it may wait for a lock
            await asyncio.wait_for(self._answered.wait(), EXECUTION_SECONDS)

    async def _to_client(self) -> None:
        assert self._server is not None
        reader, client = self._server[0], self._client[1]
        messages = wire.Messages()
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._pass()
                is_complete = any(one[:1] == wire.READY_FOR_QUERY for one in messages.feed(data))
                if self._loss is None and not self.is_silent:
                    client.write(data)
                    await client.drain()
                elif self._loss is not None and is_complete:
                    self._answered.set()
                    if self._loss.what == ANSWER:
                        self.reset()
                        return
        if self._loss is not None and self._loss.what == LATE:
            await asyncio.Event().wait()  # the other direction decides when this ends

    async def _pass(self) -> None:
        if self._route.delay_seconds:
            await asyncio.sleep(self._route.delay_seconds)
        await self._route.flowing.wait()

    def _close(self) -> None:
        for side in (self._client, self._server):
            if side is not None:
                side[1].close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
