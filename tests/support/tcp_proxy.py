"""A TCP proxy between client and server that can refuse, reset or stall connections, or drop answers."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Final, Literal

Mode = Literal["pass", "refuse", "reset", "swallow"]
CHUNK: Final = 65536


class TcpProxy:
    """Forward connections to a port of this host.

    ``mode`` may be set at any time:
    ``pass`` forwards;
    ``refuse`` resets new connections, and forwards on existing ones;
    ``reset`` resets every connection, old and new;
    ``swallow`` accepts connections, keeps every socket open, and forwards nothing, not even a close. When the
    mode returns to ``pass``, the held data is forwarded, unless ``abandon()`` was called.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self._target = (target_host, target_port)
        self._changed = threading.Condition()
        self._mode: Mode = "pass"
        self._links: list[_Link] = []
        self._to_lose: list[bytes] = []
        self.lost = 0
        """How many answers ``drop_answers()`` has discarded."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="tcp-proxy", daemon=True).start()

    def __enter__(self) -> "TcpProxy":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def mode(self) -> Mode:
        """How connections are treated."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
        if mode == "reset":
            self.reset()

    @property
    def connections(self) -> int:
        """The number of open and of abandoned connections."""
        with self._changed:
            return len(self._links)

    def reset(self) -> None:
        """Reset the existing connections."""
        with self._changed:
            links, self._links = self._links, []
        for link in links:
            link.abort()
        with self._changed:
            self._changed.notify_all()

    def abandon(self) -> None:
        """Stop forwarding on the existing connections permanently, but keep their sockets open."""
        with self._changed:
            for link in self._links:
                link.is_abandoned = True

    def drop_answers(self, to: bytes = b"", count: int = 1) -> None:
        """Discard the answers to the next ``count`` requests that contain ``to``.

        The server receives the request; when it answers, after its commit, the connection is reset.
        """
        with self._changed:
            self._to_lose += [to] * count

    def close(self) -> None:
        """Stop accepting, and reset the existing connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            link = _Link(client)
            if self._mode in ("refuse", "reset"):
                link.abort()
                continue
            with self._changed:
                self._links.append(link)
            threading.Thread(target=self._serve, args=(link,), name="tcp-proxy", daemon=True).start()

    def _serve(self, link: "_Link") -> None:
        """Forward what the client sends; connect to the server first."""
        self._wait_to_forward(link)
        try:
            server = socket.create_connection(self._target)
        except OSError:
            link.abort()
        else:
            link.connect(server)
            back = threading.Thread(target=self._pump, args=(link, server, link.client), name="tcp-proxy")
            back.daemon = True
            back.start()
            self._pump(link, link.client, server)
            back.join()
        with self._changed:
            if link in self._links:
                self._links.remove(link)
        link.close()

    def _pump(self, link: "_Link", source: socket.socket, target: socket.socket) -> None:
        is_request = source is link.client
        with suppress(OSError):  # reset by a peer, or closed by us
            while data := source.recv(CHUNK):
                self._wait_to_forward(link)
                if is_request:
                    self._note_request(link, data)
                elif link.loses_answer:
                    self.lost += 1
                    link.abort()
                    return
                target.sendall(data)
        self._wait_to_forward(link)
        with suppress(OSError):
            if not link.is_aborted:
                target.shutdown(socket.SHUT_RDWR)

    def _wait_to_forward(self, link: "_Link") -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: link.is_aborted or (self._mode != "swallow" and not link.is_abandoned)
            )

    def _note_request(self, link: "_Link", data: bytes) -> None:
        with self._changed:
            for wanted in self._to_lose:
                if wanted in data:
                    self._to_lose.remove(wanted)
                    link.loses_answer = True
                    return


class _Link:
    """A client's connection, and our connection to the server for it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.is_abandoned = False
        self.is_aborted = False
        self.loses_answer = False
        self._lock = threading.Lock()
        self._sockets = [client]

    def connect(self, server: socket.socket) -> None:
        """Store the socket to the server."""
        with self._lock:
            self._sockets.append(server)
            is_late = self.is_aborted
        if is_late:
            self.abort()

    def abort(self) -> None:
        """Reset both connections."""
        with self._lock:
            self.is_aborted = True
            for one in self._sockets:
                with suppress(OSError):  # already closed
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
                    one.close()

    def close(self) -> None:
        """Close both sockets."""
        with self._lock:
            for one in self._sockets:
                one.close()
