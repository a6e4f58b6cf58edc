"""HTTP to the upstream: the only module that opens connections, and the only importer of requests.

An upstream is hostile until proven otherwise, so every exchange here has

- an absolute deadline. `timeout=` of requests limits one *read*; a server that sends a byte
  every second is never cut off by it. Here every read from the socket, of headers and body
  alike, gets at most the time that is left (`sockets`), and so does opening a
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import urljoin

import msgspec
import requests
import urllib3
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

from app import trace
from app.engines.huggingface.transport.failures import translated
from app.engines.huggingface.transport.sockets import READ_BYTES, LimitedAdapter, Limits
from app.errors import Overloaded, UpstreamBadResponse, UpstreamRejected
from app.gate import Gate, Pass
from app.retry import Deadline

_MAX_REDIRECTS: Final = 3

ANSWERS_AT_ONCE: Final = 4
LONGEST_STAY_S: Final = 0.25
"""An answer is in memory several times before it has gone out: as it came, decoded, and in the server's hands. When
answers come for a thousand callers at once, only a few of them should be, and few threads be at work. Reading, decoding
and sending half a minute of stereo takes a tenth of this time; an upstream that drips, or a caller who reads slowly,
has others go in beside it."""

LARGE_FROM_BYTES: Final = 65_536
"""From here on an answer has a place at the gate until it has gone out, and not only while it is read."""


# Compression costs more than it saves on audio, and base64 of audio hardly shrinks.
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "studio"}

Send = Callable[[requests.PreparedRequest], requests.Response]


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

    def __init__(
        self,
        response: requests.Response,
        limit_bytes: int,
        limits: Limits,
        *,
        enter_gate: Callable[[], None],
        leave_gate: Callable[[], None],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = CaseInsensitiveDict(response.headers)
        self._response = response
        self._limit_bytes = limit_bytes
        self._limits = limits
        self._enter_gate = enter_gate
        self._leave_gate = leave_gate

    def read(self) -> Answer:
        """Return the whole answer.

        Raises:
            EngineError: too large, cut off, or too slow.
        """
        length = self._declared_bytes()
        with translated(self._limits, reading_body=True):
            if length is None:
                body = self._read_until_it_ends()
            else:
                if length >= LARGE_FROM_BYTES:
                    self._enter_gate()
                # In one piece: nothing needs to be joined.
                body = self._response.raw.read(decode_content=False)
        if len(body) < LARGE_FROM_BYTES:
            self._leave_gate()
        return Answer(self.status, self.headers, body)

    def _declared_bytes(self) -> int | None:
        """Return how long the body is when that is certain: neither chunked nor compressed, nor too long."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return None
        # The comparison of lengths is for figures so long that `int` refuses them.
        if len(length) > 18 or int(length) > self._limit_bytes:
            self._raise_too_large()
        is_certain = "Transfer-Encoding" not in self.headers and "Content-Encoding" not in self.headers
        return int(length) if is_certain else None

    def _read_until_it_ends(self) -> bytes:
        chunks, size = [], 0
        while chunk := self._response.raw.read(READ_BYTES, decode_content=True):
            size += len(chunk)
            if size > self._limit_bytes:
                self._raise_too_large()
            if size >= LARGE_FROM_BYTES:
                self._enter_gate()
            chunks.append(chunk)
        return b"".join(chunks)

    def events(self, *, first_within_s: float | None = None) -> Iterator[Event]:
        """Yield the server-sent events as they arrive, until the server ends the stream.

        The limit counts the bytes of one event: a stream of heartbeats may be long. With
        `first_within_s`, the wait for the first bytes is cut to so many seconds.

        Source: html.spec.whatwg.org/multipage/server-sent-events.html; only `event` and `data`
        are read, nothing else is sent by Gradio.
        """
        self._leave_gate()
        name, size = "", 0
        data: list[bytes] = []
        for line in self._lines(first_within_s):
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

    def _lines(self, first_within_s: float | None) -> Iterator[bytes]:
        # `iter_lines` of requests joins and splits the whole line again for every chunk, which
        # takes minutes for a line of 12 MB; this looks at every byte once.
        pending, searched = bytearray(), 0
        silence_s = self._limits.silence_s
        self._limits.silence_s = min(silence_s, first_within_s or silence_s)
        with translated(self._limits, reading_body=True):
            while chunk := self._response.raw.read1(READ_BYTES, decode_content=True):
                self._limits.silence_s = silence_s
                pending += chunk
                while (end := pending.find(b"\n", searched)) >= 0:
                    yield bytes(pending[:end]).removesuffix(b"\r")
                    del pending[: end + 1]
                    searched = 0
                searched = len(pending)
                if searched > self._limit_bytes:
                    self._raise_too_large()
                if searched >= LARGE_FROM_BYTES:
                    self._enter_gate()

    def _raise_too_large(self) -> NoReturn:
        raise UpstreamBadResponse(f"The answer is larger than {self._limit_bytes} bytes.")


class Conversation:
    """The requests of one job, to one origin, sharing cookies.

    An answer takes a place at the gate; of a large one the conversation keeps it until its next request, or
    `leave_gate`.
    """

    def __init__(self, transport: Transport, base_url: str, headers: Mapping[str, str]) -> None:
        self._transport = transport
        self._origin = origin_of(base_url)
        self._headers = {**_HEADERS, **headers}
        self._cookies = RequestsCookieJar()
        self._pass: Pass | None = None

    def leave_gate(self) -> None:
        """Make room for other large answers: this one has gone out, or came to nothing."""
        if self._pass is not None:
            self._transport.gate.leave(self._pass)
            self._pass = None

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
        enter = functools.partial(self._enter_gate, deadline)
        for _ in range(_MAX_REDIRECTS + 1):
            if not self.owns(url):
                raise UpstreamRejected("The upstream redirects to another host.", log_text=url)
            self.leave_gate()
            response = self._send(method, url, body, deadline, enter)
            try:
                location = response.headers.get("Location")
                if not (response.is_redirect and location):
                    yield self._transport.incoming(response, enter_gate=enter, leave_gate=self.leave_gate)
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

    def _enter_gate(self, deadline: Deadline) -> None:
        try:
            self._pass = self._pass or self._transport.gate.enter(deadline)
        except TimeoutError:
            if deadline.is_cancelled:
                raise
            # It is this service that has no time, and not the upstream.
            raise Overloaded("Too many large answers arrive at once.", retry_after_s=LONGEST_STAY_S) from None

    def _send(
        self, method: str, url: str, body: object, deadline: Deadline, enter_gate: Callable[[], None]
    ) -> requests.Response:
        # Without a session of requests: it reads the whole body of a redirect, uncapped, even if told not to follow.
        headers = self._headers | trace.outgoing_headers()
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        with self._transport.sending(deadline, enter_gate) as send:
            request = requests.Request(method, url, headers, data=data, cookies=self._cookies).prepare()
            response = send(request)
            self._cookies.update(response.cookies)
            return response


class Transport:
    """The pool of connections and the limits; one object serves all threads.

    Args:
        connect_timeout_s: Longest time to open a connection, seconds.
        silence_timeout_s: Longest wait between two bytes, seconds.
        limit_bytes: Largest answer, in bytes after decompression.
        connections: Connections kept open for reuse.
        authorities: A file of the certificates that are trusted under TLS; by default those of certifi.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        silence_timeout_s: float,
        limit_bytes: int,
        connections: int,
        authorities: str | None = None,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._limit_bytes = limit_bytes
        self._authorities = authorities or True
        self._limits = Limits()
        self.gate = Gate(ANSWERS_AT_ONCE, longest_stay_s=LONGEST_STAY_S)
        self._adapter = LimitedAdapter(self._limits, connections)

    def converse(self, base_url: str, headers: Mapping[str, str]) -> Conversation:
        """Return a conversation with the origin of `base_url` that sends `headers` along."""
        return Conversation(self, base_url, headers)

    def incoming(
        self, response: requests.Response, *, enter_gate: Callable[[], None], leave_gate: Callable[[], None]
    ) -> Incoming:
        return Incoming(response, self._limit_bytes, self._limits, enter_gate=enter_gate, leave_gate=leave_gate)

    @contextmanager
    def sending(self, deadline: Deadline, enter_gate: Callable[[], None]) -> Iterator[Send]:
        """Give what sends a request, under limits that hold until the next exchange of this thread begins.

        When a thousand answers come at once, not even their headers are read by all threads at the same time: the gate
        is entered with the first byte.
        """
        self._limits.deadline = deadline
        self._limits.silence_s = self._silence_timeout_s
        self._limits.enter = enter_gate
        try:
            with translated(self._limits):
                wait_s = self._limits.next_wait_s()
                timeout = (min(self._connect_timeout_s, wait_s), wait_s)
                yield functools.partial(self._adapter.send, stream=True, timeout=timeout, verify=self._authorities)
        finally:
            self._limits.enter = None


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
