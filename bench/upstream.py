"""An upstream that costs next to nothing: one thread, prepared answers, nothing parsed but lengths.

`python -m bench.upstream PORT` answers every POST with the sample of its path (`bench.samples`),
and a GET of `/counts` with how many connections and other requests came so far. With `--hang-up` it reads
each request and closes the connection. It ends after an hour, whatever happens to its parent.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from contextlib import suppress
from typing import Final

from bench.samples import SAMPLES, Sample

LONGEST_LIFE_S: Final = 3_600.0
_READ_BYTES: Final = 65_536
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _prepared(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection:
    __slots__ = ("is_waiting", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.unsent = memoryview(b"")
        self.is_waiting = False


class Upstream:
    """The server; `run` serves until its time is over."""

    def __init__(self, port: int, *, hangs_up: bool) -> None:
        self._hangs_up = hangs_up
        self._samples: dict[bytes, tuple[Sample, bytes]] = {
            sample.path.encode(): (sample, _prepared(sample.answer())) for sample in SAMPLES
        }
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4_096)
        self._listener.settimeout(0)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._held: list[tuple[_Connection, bytes]] = []
        self._release_at_s = 0.0
        self._counts = {"connections": 0, "requests": 0}

    def run(self) -> None:
        end_at_s = time.monotonic() + LONGEST_LIFE_S
        while (now_s := time.monotonic()) < end_at_s:
            wait_s = self._release_at_s - now_s if self._held else 1.0
            for number, events in self._epoll.poll(max(wait_s, 0.0)):
                if number == self._listener.fileno():
                    self._accept()
                    continue
                connection = self._connections.get(number)
                if connection is None:  # it was closed a moment ago
                    continue
                try:
                    if events & select.EPOLLOUT:
                        self._send(connection)
                    else:
                        self._read(connection)
                except OSError:
                    self._close(connection)
            if self._held and time.monotonic() >= self._release_at_s:
                held, self._held = self._held, []
                for connection, answer in held:
                    self._answer(connection, answer)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(0)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[sock.fileno()] = _Connection(sock)
                self._epoll.register(sock, select.EPOLLIN)
                self._counts["connections"] += 1

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.sock.fileno(), None)
        self._held = [each for each in self._held if each[0] is not connection]
        connection.sock.close()  # which takes it out of the epoll, too

    def _read(self, connection: _Connection) -> None:
        chunk = connection.sock.recv(_READ_BYTES)
        if not chunk:
            self._close(connection)
            return
        received = connection.received
        received += chunk
        head_end = received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return
        head = bytes(received[:head_end])
        end = head_end + _content_length(head)
        if len(received) < end:
            return
        del received[:end]
        method, path, _ = head.split(b" ", 2)
        if path == b"/counts":
            self._answer(connection, _prepared(json.dumps(self._counts).encode()))
            return
        self._counts["requests"] += 1
        if self._hangs_up:
            self._close(connection)
        elif method == b"POST" and path in self._samples:
            sample, answer = self._samples[path]
            if sample.delay_s:
                self._held.append((connection, answer))
                self._release_at_s = time.monotonic() + sample.delay_s
            else:
                self._answer(connection, answer)
        else:
            self._answer(connection, _NOT_FOUND)

    def _answer(self, connection: _Connection, answer: bytes) -> None:
        connection.unsent = memoryview(answer)
        try:
            self._send(connection)
        except OSError:
            self._close(connection)

    def _send(self, connection: _Connection) -> None:
        while connection.unsent:
            try:
                connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
            except BlockingIOError:
                if not connection.is_waiting:
                    self._epoll.modify(connection.sock, select.EPOLLOUT)
                    connection.is_waiting = True
                return
        if connection.is_waiting:
            self._epoll.modify(connection.sock, select.EPOLLIN)
            connection.is_waiting = False


def _content_length(head: bytes) -> int:
    lower = head.lower()
    if b"\r\ntransfer-encoding:" in lower:
        raise OSError("a body in chunks, which nothing here sends")
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


if __name__ == "__main__":
    Upstream(int(sys.argv[1]), hangs_up="--hang-up" in sys.argv[2:]).run()
