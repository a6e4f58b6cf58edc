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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import urljoin

import msgspec
import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from app.engines.huggingface.transport.failures import translated
from app.engines.huggingface.transport.sockets import READ_BYTES, LimitedAdapter, Limits
from app.errors import UpstreamBadResponse, UpstreamRejected
from app.retry import Deadline

_MAX_REDIRECTS: Final = 3


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

    def __init__(self, response: requests.Response, limit_bytes: int, limits: Limits) -> None:
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
        with translated(self._limits, reading_body=True):
            while chunk := self._response.raw.read(READ_BYTES, decode_content=True):
                size += len(chunk)
                if size > self._limit_bytes:
                    self._raise_too_large()
                chunks.append(chunk)
        return Answer(self.status, self.headers, b"".join(chunks))

    def events(self, *, first_within_s: float | None = None) -> Iterator[Event]:
        """Yield the server-sent events as they arrive, until the server ends the stream.

        The limit counts the bytes of one event: a stream of heartbeats may be long. With
        `first_within_s`, the wait for the first bytes is cut to so many seconds.

        Source: html.spec.whatwg.org/multipage/server-sent-events.html; only `event` and `data`
        are read, nothing else is sent by Gradio.
        """
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
        self._limits = Limits()
        self._adapter = LimitedAdapter(self._limits, connections)

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
        with translated(self._limits):
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
