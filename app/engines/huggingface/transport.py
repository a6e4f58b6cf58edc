"""HTTP to the upstream: the only module that opens connections, and the only importer of requests.

An upstream is hostile until proven otherwise, so every exchange here has

- an absolute deadline. `timeout=` of requests limits one *read*; a server that sends a byte
  every second is never cut off by it. Here every read from the socket, of headers and body
  alike, gets at most the time that is left (`_DeadlineReader`), and so does opening a
  connection, name lookup included, which no socket timeout covers;
- a cap on the bytes of an answer, counted after decompression, so that a small compressed
  body cannot unfold into a large one;
- one origin. Requests go to the configured scheme, host and port only; redirects are followed
  there and nowhere else. requests would carry `X-HF-Authorization` along to any host;
- no environment. `trust_env` would send traffic through proxies named in variables.

Cookies live as long as one `Conversation`: a Space with replicas needs the first answer's
cookie on all requests of a job, and two jobs must not share it.
"""

from __future__ import annotations

import functools
import http.client
import io
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urljoin

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from app.errors import (
    EngineError,
    UpstreamBadResponse,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline

_MAX_REDIRECTS: Final = 3
_READ_BYTES: Final = 65_536


# ---------------------------------------------------------------------- sockets with a deadline


class _Limits(threading.local):
    """The limits of the exchange that the current thread is in; one object per transport."""

    deadline: Deadline | None = None
    silence_s: float = 60.0

    def next_wait_s(self) -> float:
        """Return how long the next wait on the network may be, or raise when time is up."""
        wait_s = self.silence_s if self.deadline is None else min(self.silence_s, self.deadline.remaining_s())
        if wait_s <= 0:
            raise TimeoutError("the deadline has passed")
        return wait_s


class _DeadlineReader(io.RawIOBase):
    """A socket's read side in which each read waits no longer than the limits allow."""

    def __init__(self, sock: socket.socket, limits: _Limits) -> None:
        self._sock = sock
        # Unbuffered, so that it only keeps the socket open while a response is read from it.
        self._raw = sock.makefile("rb", buffering=0)
        self._limits = limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._limits.next_wait_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """What `http.client.HTTPResponse` needs of a socket: a file to read from."""

    def __init__(self, sock: socket.socket, limits: _Limits) -> None:
        self._sock = sock
        self._limits = limits

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._limits), _READ_BYTES)


def _limited_response(limits: _Limits, sock: socket.socket, method: str | None = None) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_DeadlineSocket(sock, limits), method=method)  # type: ignore[arg-type]


class _LimitedConnection(HTTPConnection):
    def __init__(self, limits: _Limits, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._limits = limits
        self.response_class = functools.partial(_limited_response, limits)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        return _connect_in_time(super()._new_conn, self, self._limits)


class _LimitedTLSConnection(HTTPSConnection):
    def __init__(self, limits: _Limits, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._limits = limits
        self.response_class = functools.partial(_limited_response, limits)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        return _connect_in_time(super()._new_conn, self, self._limits)


def _connect_in_time(
    connect: Callable[[], socket.socket], connection: HTTPConnection, limits: _Limits
) -> socket.socket:
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
    threading.Thread(target=run, name="upstream-connect", daemon=True).start()
    try:
        result = outcome.get(timeout=limit_s)
    except queue.Empty:
        with lock:
            state["abandoned"] = True
        if not outcome.empty() and isinstance(late := outcome.get(), socket.socket):
            late.close()
        message = f"no connection within {limit_s:.1f} s"
        raise urllib3.exceptions.ConnectTimeoutError(connection, message) from None
    if isinstance(result, BaseException):
        raise result
    return result


class _LimitedAdapter(HTTPAdapter):
    """requests' connection pool, with sockets that obey the limits."""

    def __init__(self, limits: _Limits, connections: int) -> None:
        self._limits = limits
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        plain = functools.partial(_LimitedConnection, self._limits)
        tls = functools.partial(_LimitedTLSConnection, self._limits)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("LimitedPool", (HTTPConnectionPool,), {"ConnectionCls": staticmethod(plain)}),
            "https": type("LimitedTLSPool", (HTTPSConnectionPool,), {"ConnectionCls": staticmethod(tls)}),
        }


# ---------------------------------------------------------------------- exchanges


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: status, headers (names in any case) and the decompressed body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def json(self) -> object:
        """Return the decoded body.

        Raises:
            UpstreamBadResponse: it is not JSON.
        """
        return decode_json(self.body)


def decode_json(text: bytes | str) -> object:
    """Return the JSON value that `text` holds, or raise UpstreamBadResponse."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        excerpt = text[:200] if isinstance(text, str) else text[:200].decode("utf-8", "replace")
        raise UpstreamBadResponse("The answer is not JSON.", log_text=f"{error}: {excerpt}") from None
    return value


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `name` is empty when the server gave none."""

    name: str
    data: bytes


class Incoming:
    """An answer whose headers have arrived and whose body has not been read yet."""

    def __init__(self, response: requests.Response, limit_bytes: int, limits: _Limits) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = CaseInsensitiveDict(response.headers)
        self._response = response
        self._limit_bytes = limit_bytes
        self._limits = limits

    def read(self) -> Answer:
        """Return the whole answer.

        Raises:
            EngineError: too large, cut off, or too slow.
        """
        declared = self.headers.get("Content-Length", "")
        # The comparison of lengths is for figures so long that `int` refuses them.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._limit_bytes):
            self._raise_too_large()
        chunks, size = [], 0
        with _translated(self._limits, reading_body=True):
            while chunk := self._response.raw.read(_READ_BYTES, decode_content=True):
                size += len(chunk)
                if size > self._limit_bytes:
                    self._raise_too_large()
                chunks.append(chunk)
        return Answer(self.status, self.headers, b"".join(chunks))

    def events(self) -> Iterator[Event]:
        """Yield the server-sent events as they arrive, until the server ends the stream.

        The limit counts the bytes of one event: a stream of heartbeats may be long.

        Source: html.spec.whatwg.org/multipage/server-sent-events.html; only `event` and `data`
        are read, nothing else is sent by Gradio.
        """
        name, size = "", 0
        data: list[bytes] = []
        for line in self._lines():
            if not line:
                if data:
                    yield Event(name, b"\n".join(data))
                name, data, size = "", [], 0
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                size += len(value) + 1  # the line break: a million empty lines are not nothing
                if size > self._limit_bytes:
                    self._raise_too_large()
                data.append(value)

    def _lines(self) -> Iterator[bytes]:
        # `iter_lines` of requests joins and splits the whole line again for every chunk, which
        # takes minutes for a line of 12 MB; this looks at every byte once.
        pending, searched = bytearray(), 0
        with _translated(self._limits, reading_body=True):
            while chunk := self._response.raw.read1(_READ_BYTES, decode_content=True):
                pending += chunk
                while (end := pending.find(b"\n", searched)) >= 0:
                    yield bytes(pending[:end]).removesuffix(b"\r")
                    del pending[: end + 1]
                    searched = 0
                searched = len(pending)
                if searched > self._limit_bytes:
                    self._raise_too_large()

    def _raise_too_large(self) -> NoReturn:
        raise UpstreamBadResponse(f"The answer is larger than {self._limit_bytes} bytes.")


class Conversation:
    """The requests of one job, to one origin, sharing cookies."""

    def __init__(self, transport: Transport, base_url: str, headers: Mapping[str, str]) -> None:
        self._transport = transport
        self._origin = origin_of(base_url)
        self._session = transport.new_session(headers)

    def owns(self, url: str) -> bool:
        """Return whether `url` lies at the configured origin."""
        return origin_of(url) == self._origin

    def get(self, url: str, *, deadline: Deadline) -> Answer:
        with self.open("GET", url, deadline=deadline) as incoming:
            return incoming.read()

    def post(self, url: str, body: object, *, deadline: Deadline) -> Answer:
        with self.open("POST", url, body=body, deadline=deadline) as incoming:
            return incoming.read()

    @contextmanager
    def open(self, method: str, url: str, *, deadline: Deadline, body: object = None) -> Iterator[Incoming]:
        """Send a request and give its answer before the body is read; JSON goes out, anything comes back.

        Raises:
            EngineError: no answer, or none that may be followed.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            if not self.owns(url):
                raise UpstreamRejected("The upstream redirects to another host.", log_text=url)
            response = self._send(method, url, body, deadline)
            try:
                location = response.headers.get("Location")
                if not (response.is_redirect and location):
                    yield self._transport.incoming(response)
                    return
            finally:
                response.close()
            try:
                url = urljoin(url, location)
            except ValueError:
                raise UpstreamBadResponse("The upstream redirects to no address.", log_text=location[:200]) from None
            if response.status_code in (301, 302, 303):
                method, body = "GET", None
        raise UpstreamBadResponse("The upstream redirects in a circle.", log_text=url)

    def _send(self, method: str, url: str, body: object, deadline: Deadline) -> requests.Response:
        with self._transport.limited(deadline) as timeout:
            return self._session.request(
                method,
                url,
                data=None if body is None else msgspec.json.encode(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            )


class _Session(requests.Session):
    """requests' session without its redirects: it would read their whole body, uncapped, even if told not to follow."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature is requests'
        return None


class Transport:
    """The pool of connections and the limits; one object serves all threads.

    Args:
        connect_timeout_s: Longest time to open a connection, seconds.
        silence_timeout_s: Longest wait between two bytes, seconds.
        limit_bytes: Largest answer, in bytes after decompression.
        connections: Connections kept open for reuse.
    """

    def __init__(
        self, *, connect_timeout_s: float, silence_timeout_s: float, limit_bytes: int, connections: int
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._limit_bytes = limit_bytes
        self._limits = _Limits()
        self._adapter = _LimitedAdapter(self._limits, connections)

    def converse(self, base_url: str, headers: Mapping[str, str]) -> Conversation:
        """Return a conversation with the origin of `base_url` that sends `headers` along."""
        return Conversation(self, base_url, headers)

    def new_session(self, headers: Mapping[str, str]) -> requests.Session:
        session = _Session()
        session.trust_env = False
        session.mount("https://", self._adapter)
        session.mount("http://", self._adapter)
        # Compression costs more than it saves on audio, and base64 of audio hardly shrinks.
        session.headers.update({"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "studio"})
        session.headers.update(headers)
        return session

    def incoming(self, response: requests.Response) -> Incoming:
        return Incoming(response, self._limit_bytes, self._limits)

    @contextmanager
    def limited(self, deadline: Deadline) -> Iterator[tuple[float, float]]:
        """Set the current thread's limits; they hold until the next exchange of this thread begins."""
        self._limits.deadline = deadline
        self._limits.silence_s = self._silence_timeout_s
        with _translated(self._limits):
            wait_s = self._limits.next_wait_s()
            yield min(self._connect_timeout_s, wait_s), wait_s


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL; ports that are the scheme's own count as given.

    The URL is parsed by what parses it on its way to the socket. `urlsplit` finds the host
    `good` in `https://evil\\@good/`, urllib3 connects to `evil`.
    """
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return "", "", None
    default = {"http": 80, "https": 443}.get(parts.scheme or "")
    return parts.scheme or "", (parts.host or "").lower(), parts.port or default


# ---------------------------------------------------------------------- errors


@contextmanager
def _translated(limits: _Limits, *, reading_body: bool = False) -> Iterator[None]:
    """Turn whatever the libraries below raise into an error of the catalogue."""
    try:
        yield
    except EngineError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise translate(error, limits.deadline, reading_body=reading_body) from error


def translate(error: BaseException, deadline: Deadline | None, *, reading_body: bool = False) -> EngineError:
    """Return our error for one of requests, urllib3, http.client or the socket.

    The libraries wrap each other and the same cause comes out in different classes (a read
    timeout in mid-body is a `ConnectionError` of requests), so the whole chain is looked at.
    """
    if deadline is not None and deadline.expired:
        return UpstreamTimeout("The engine gave no complete answer in time.", log_text=repr(error))
    chain = tuple(causes(error))
    if reading_body and any(isinstance(each, ConnectionError) for each in chain):
        return UpstreamBadResponse(_CUT_OFF, repeat=True, log_text=repr(error))
    for classes, row, detail, repeat in _TRANSLATIONS:
        if any(isinstance(each, classes) for each in chain):
            return row(detail, repeat=repeat, log_text=repr(error))
    return UpstreamUnavailable("The connection to the engine failed.", log_text=repr(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps, in arguments, `reason`, `__cause__` or `__context__`."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < 20:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting.extend(inner for inner in wrapped if isinstance(inner, BaseException))


_CUT_OFF: Final = "The answer was cut off."

# The order matters: to urllib3 an unknown name is a refused connection and that a connect
# timeout, to requests a connect timeout is a connection error too, and a dropped connection is
# both a bad status line and a reset.
# The last column overrides whether another attempt is worthwhile.
_TRANSLATIONS: Final[tuple[tuple[tuple[type[BaseException], ...], type[EngineError], str, bool | None], ...]] = (
    (
        (urllib3.exceptions.NameResolutionError, socket.gaierror),
        *(UpstreamUnavailable, "The engine's host name is not known.", None),
    ),
    (
        (urllib3.exceptions.NewConnectionError,),
        *(UpstreamUnavailable, "The engine's host refuses connections.", None),
    ),
    (
        (urllib3.exceptions.ConnectTimeoutError, requests.ConnectTimeout),
        *(UpstreamUnavailable, "The engine's host cannot be reached in time.", None),
    ),
    (
        (ssl.SSLCertVerificationError,),
        *(UpstreamUnavailable, "The engine's TLS certificate is not valid.", False),
    ),
    (
        (urllib3.exceptions.ReadTimeoutError, requests.Timeout, TimeoutError),
        *(UpstreamTimeout, "The engine fell silent.", None),
    ),
    (
        (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError),
        *(UpstreamBadResponse, "The answer's compression is damaged.", None),
    ),
    (
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead, requests.exceptions.ChunkedEncodingError),
        *(UpstreamBadResponse, _CUT_OFF, True),
    ),
    (
        (http.client.RemoteDisconnected,),
        *(UpstreamUnavailable, "The engine closed the connection without an answer.", None),
    ),
    (
        (urllib3.exceptions.InvalidHeader, http.client.HTTPException),
        *(UpstreamBadResponse, "The answer is not HTTP.", None),
    ),
    (
        (ConnectionError,),
        *(UpstreamUnavailable, "The connection to the engine broke.", None),
    ),
    (
        (ValueError, urllib3.exceptions.LocationValueError),  # InvalidURL, InvalidHeader, MissingSchema, …
        *(UpstreamRejected, "The upstream's address cannot be used.", None),
    ),
)
