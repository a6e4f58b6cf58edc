"""Sockets that obey an absolute deadline, and the connection pool that makes them.

`timeout=` of requests limits one read, so that a server which sends a byte every second is
never cut off. Here every read, of headers and body alike, gets at most the time that is left,
and so does opening a connection, its TLS handshake included.

All of it notices a cancelled deadline (`Deadline.waits_s`). So reads do not block: a socket is
asked first and waited for afterwards. Waiting first would be wrong under TLS, where what was
received may lie decrypted in memory, or be a part of a record that no read can return yet.
"""

from __future__ import annotations

import functools
import http.client
import io
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import create_urllib3_context, wait_for_read, wait_for_write

from app import turns
from app.retry import Deadline

T = TypeVar("T")

READ_BYTES: Final = 65_536

_BUFFER_BYTES: Final = 8_192
"""Of a connection: enough for its headers. Bodies go past it; a thousand connections keep a thousand of them."""


class Limits(threading.local):
    """The limits of the exchange that the current thread is in; one object per transport.

    Attributes:
        deadline: Of the exchange.
        silence_s: Longest wait between two bytes, seconds.
        enter: Called before anything is read of an answer that had to be waited for; it may wait.
    """

    deadline: Deadline | None = None
    silence_s: float = 60.0
    enter: Callable[[], None] | None = None

    def next_wait_s(self) -> float:
        """Return how long the next wait on the network may be, or raise when time is up."""
        wait_s = self.silence_s if self.deadline is None else min(self.silence_s, self.deadline.remaining_s())
        if wait_s <= 0:
            raise TimeoutError("the deadline has passed")
        return wait_s

    def waits_s(self, timeout_s: float) -> Iterator[float]:
        """Yield how long to wait next, in seconds, until `timeout_s` from now or the deadline has come."""
        return (self.deadline or Deadline.after(timeout_s)).waits_s(timeout_s)

    def when_ready(self, sock: socket.socket, timeout_s: float, operation: Callable[[], T]) -> T:
        """Return what `operation` gives on the socket, which is set not to block, as soon as it gives something.

        Raises:
            TimeoutError: `timeout_s` or the deadline has passed.
        """
        for wait_s in self.waits_s(timeout_s):
            try:
                return operation()
            except (BlockingIOError, ssl.SSLWantReadError):
                turns.rest()
                wait_for_read(sock, wait_s)
            except ssl.SSLWantWriteError:
                wait_for_write(sock, wait_s)
        raise TimeoutError("the upstream was silent for too long")


class _DeadlineReader(io.RawIOBase):
    """A socket's read side in which each read waits no longer than the limits allow."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self._sock = sock
        # Nothing is read from it: it keeps the socket open until the response is read.
        self._held = sock.makefile("rb", buffering=0)
        self._limits = limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(0)  # before each request, urllib3 sets it back
        return self._limits.when_ready(self._sock, self._limits.silence_s, functools.partial(self._receive, buffer))

    def _receive(self, buffer: bytearray | memoryview) -> int:
        if self._limits.enter is not None and wait_for_read(self._sock, 0):
            self._limits.enter()
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held.close()
        super().close()


class _DeadlineSocket:
    """What `http.client.HTTPResponse` needs of a socket: a file to read from."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self._sock = sock
        self._limits = limits

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._limits), _BUFFER_BYTES)


def _limited_response(limits: Limits, sock: socket.socket, method: str | None = None) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_DeadlineSocket(sock, limits), method=method)  # type: ignore[arg-type]


class _LimitedConnection(HTTPConnection):
    def __init__(self, limits: Limits, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._limits = limits
        self.response_class = functools.partial(_limited_response, limits)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        return _connect_in_time(super()._new_conn, self, self._limits)


class _LimitedTLSSocket(ssl.SSLSocket):
    """An encrypted socket whose handshake obeys the limits; each adapter has a class of its own."""

    limits: ClassVar[Limits]

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature is ssl's
        timeout_s = self.gettimeout() or self.limits.silence_s
        self.settimeout(0)
        self.limits.when_ready(self, timeout_s, functools.partial(super().do_handshake, block))
        self.settimeout(timeout_s)


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    """The same, encrypted: `super()` leads over urllib3's TLS connection."""

    def __init__(self, limits: Limits, socket_class: type[ssl.SSLSocket], **options: object) -> None:
        super().__init__(limits, **options)
        # What urllib3 would make by itself; the authorities come with the options.
        self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = socket_class


def _connect_in_time(connect: Callable[[], socket.socket], connection: HTTPConnection, limits: Limits) -> socket.socket:
    """Open a connection within its timeout, all addresses and the name lookup included.

    A name lookup cannot be interrupted and has no timeout, and each address of a name gets the
    whole timeout anew. So it happens in a thread of its own; one that comes too late closes
    what it opened. Such a thread ends when the resolver gives up.
    """
    outcome: queue.SimpleQueue[socket.socket | BaseException] = queue.SimpleQueue()
    lock, state = threading.Lock(), {"abandoned": False}

    def run() -> None:
        result: socket.socket | BaseException
        try:
            result = connect()
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            result = error
        with lock:
            if state["abandoned"] and isinstance(result, socket.socket):
                result.close()
            outcome.put(result)

    limit_s = min(float(connection.timeout or limits.silence_s), limits.next_wait_s())
    turns.rest()
    threading.Thread(target=run, name="upstream-connect", daemon=True).start()
    for wait_s in limits.waits_s(limit_s):
        with suppress(queue.Empty):
            result = outcome.get(timeout=wait_s)
            if isinstance(result, BaseException):
                raise result
            return result
    with lock:
        state["abandoned"] = True
    if not outcome.empty() and isinstance(late := outcome.get(), socket.socket):
        late.close()
    raise urllib3.exceptions.ConnectTimeoutError(connection, f"no connection within {limit_s:.1f} s")


class LimitedAdapter(HTTPAdapter):
    """requests' connection pool, with sockets that obey the limits."""

    def __init__(self, limits: Limits, connections: int) -> None:
        self._limits = limits
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        plain = functools.partial(_LimitedConnection, self._limits)
        tls_socket = type("LimitedTLSSocket", (_LimitedTLSSocket,), {"limits": self._limits})
        tls = functools.partial(_LimitedTLSConnection, self._limits, tls_socket)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("LimitedPool", (HTTPConnectionPool,), {"ConnectionCls": staticmethod(plain)}),
            "https": type("LimitedTLSPool", (HTTPSConnectionPool,), {"ConnectionCls": staticmethod(tls)}),
        }
