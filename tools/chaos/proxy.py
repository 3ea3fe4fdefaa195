"""A TCP proxy in front of PostgreSQL that breaks connections, and loses chosen statements or answers.

Everything runs in one event loop in its own thread. The methods of `Proxy` can be called from any thread.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from tools.postgres.server import free_port

from . import journal
from .conversation import Conversation, Loss

HOST = "127.0.0.1"
CLOSE_SECONDS = 0.02
T = TypeVar("T")


class Route:
    """One listening port and its conversations; runs in the loop."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.losses: list[Loss] = []
        self.delay_seconds = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._upstream_port = upstream_port
        self._listener: asyncio.Server | None = None
        self._conversations: set[Conversation] = set()

    async def open(self) -> None:
        """Accept connections, on the same port as before."""
        if self._listener is None:
            self.port = self.port or free_port()
            self._listener = await asyncio.start_server(self._accept, HOST, self.port)

    def close(self) -> None:
        """Refuse new connections; existing ones stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def reset(self) -> int:
        """Reset all connections; return how many there were."""
        count = len(self._conversations)
        for conversation in list(self._conversations):
            conversation.reset()
        return count

    def stop_forwarding(self, wanted: Callable[[str], bool]) -> int:
        """Stop forwarding on connections with a ``wanted`` application name; return how many there are."""
        chosen = [one for one in self._conversations if wanted(one.application)]
        for conversation in chosen:
            conversation.is_silent = True
        return len(chosen)

    def take_loss(self, statement: str) -> Loss | None:
        """Return the loss that is planned for the next statement with a name, and count it."""
        for loss in self.losses:
            if loss.statement == statement:
                loss.happened_at.append(journal.now())
                if len(loss.happened_at) == loss.times:
                    self.losses.remove(loss)
                return loss
        return None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(self, reader, writer)
        self._conversations.add(conversation)
        try:
            await conversation.run(HOST, self._upstream_port)
        except asyncio.CancelledError:
            pass  # the proxy is closing; Python 3.11 would print the cancellation as an error
        finally:
            self._conversations.discard(conversation)


class Proxy:
    """The thread with the event loop, and the methods that the injection calls."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def route(self, upstream_port: int) -> Route:
        """Open a new port that forwards to a port of the server."""

        async def make() -> Route:
            route = Route(upstream_port)
            await route.open()
            self._routes.append(route)
            return route

        return self._do(make())

    def reset(self, route: Route) -> int:
        """Reset all connections of a route."""
        return self._call(route.reset)

    def refuse(self, route: Route) -> None:
        """Reset all connections of a route, and refuse new ones."""
        self._call(route.close)
        self._call(route.reset)

    def swallow(self, route: Route) -> None:
        """Stop forwarding on a route, but keep its connections open, until ``undo_faults()``."""
        self._call(route.flowing.clear)

    def half_open(self, route: Route) -> int:
        """Stop forwarding on the managers' own connections of a route; new connections work."""
        return self._call(lambda: route.stop_forwarding(lambda name: name.startswith("django_partisan ")))

    def slow(self, route: Route, seconds: float) -> None:
        """Delay all data of a route until ``undo_faults()``."""
        self._call(lambda: setattr(route, "delay_seconds", seconds))

    def undo_faults(self, route: Route) -> None:
        """Undo lasting faults."""

        async def undo() -> None:
            route.delay_seconds = 0.0
            route.flowing.set()
            await route.open()

        self._do(undo())

    def lose(self, route: Route, loss: Loss) -> None:
        """Plan a loss for the next statements with a name."""
        self._call(lambda: route.losses.append(loss))

    def forget(self, route: Route) -> None:
        """Drop the planned losses that have not happened."""
        self._call(route.losses.clear)

    def stop(self) -> None:
        """Close all connections and end the thread."""

        async def end() -> None:
            for route in self._routes:
                route.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(CLOSE_SECONDS)  # sockets are closed in the next iterations of the loop

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._do(call())

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(timeout=30)
