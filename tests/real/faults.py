"""A small HTTP server that misbehaves on command, for tests of what a client does about it.

An answer is data: a tuple of steps (`Send`, `Drip`, `Repeat`, `Wait`, `Reset`, `Close`) that are
played on the raw socket, so that anything can be sent, well-formed or not. `server.answers`
says what is played for which request; nothing in it knows HTTP beyond reading requests.

The upstreams this service knows are there too, healthy, for tests to break a single part of:
`play_plain`, `play_gradio`, `play_endpoint`.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

_PATIENCE_S: Final = 10.0
"""Longest single wait of a handler: whatever a test does, its threads end."""

_MOST_CONNECTIONS: Final = 64
_LARGEST_REQUEST_BYTES: Final = 1 << 20


# ---------------------------------------------------------------------- what can be played


@dataclass(frozen=True, slots=True)
class Send:
    """Send all of it at once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """Send it in small pieces with pauses between them."""

    data: bytes
    every_s: float = 0.02
    piece_bytes: int = 1


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send the same piece again and again; it takes the memory of one."""

    data: bytes
    times: int = 1_000_000_000
    every_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while, or until the client leaves."""

    seconds: float = _PATIENCE_S


@dataclass(frozen=True, slots=True)
class Reset:
    """Abort the connection (TCP RST)."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection in good order (TCP FIN)."""


Step = Send | Drip | Repeat | Wait | Reset | Close
Answer = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; the names of the headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def json(self) -> object:
        return json.loads(self.body)


Reply = Answer | Callable[[Request], Answer]
Replies = Reply | list[Reply]
Routes = Mapping[str, Replies]
"""`"POST /run/predict"` → the answer; a list is answered one after the other, its last for ever.

A path that ends in `*` stands for all that begin so; an exact one goes first.
"""


def head(
    status: int = 200, *headers: tuple[str, str], length: int | None = None, content_type: str = "application/json"
) -> bytes:
    """Return the status line and the headers; `Content-Length` only with `length`."""
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Whatever'}", f"Content-Type: {content_type}"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(
    body: bytes | str | object = b"",
    status: int = 200,
    *headers: tuple[str, str],
    content_type: str = "application/json",
) -> Answer:
    """Return a well-formed answer; what is neither bytes nor text is sent as JSON."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return (Send(head(status, *headers, length=len(content), content_type=content_type) + content),)


def web_page(status: int = 200, text: str = "<!DOCTYPE html><html><body><h1>Oops</h1></body></html>") -> Answer:
    return answer(text, status, content_type="text/html; charset=utf-8")


def redirect(location: str, status: int = 307) -> Answer:
    return answer(b"", status, ("Location", location))


def chunked(*pieces: bytes, status: int = 200, content_type: str = "application/json", ends: bool = True) -> bytes:
    """Return an answer in chunks, with or without the chunk that ends it."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    last = b"0\r\n\r\n" if ends else b""
    return head(status, ("Transfer-Encoding", "chunked"), content_type=content_type) + chunks + last


def events(*messages: object, ends: bool = True) -> Answer:
    """Return a stream of server-sent events as Gradio's queue sends it; text is sent as it is."""
    lines = [f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n".encode() for each in messages]
    stream = chunked(*lines, content_type="text/event-stream; charset=utf-8", ends=ends)
    return (Send(stream),) if ends else (Send(stream), Close())


# ---------------------------------------------------------------------- the server


class FaultyServer:
    """Listens on a free port of the loopback interface while its `with` block runs.

    Attributes:
        requests: What was received, in order.
        sent_bytes: How many bytes were sent, in all.
    """

    def __init__(self, routes: Routes | None = None) -> None:
        self.requests: list[Request] = []
        self.sent_bytes = 0
        self._routes: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._listener = self._bind(0)
        self.port: int = self._listener.getsockname()[1]
        self.answers(routes or {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, routes: Routes) -> None:
        """Answer like this from now on, and forget the requests until now."""
        with self._lock:
            self._routes = {
                key: list(replies) if isinstance(replies, list) else [replies] for key, replies in routes.items()
            }
            self.requests = []

    @property
    def open_connections(self) -> int:
        """How many connections are open on this side."""
        return len(self._connections)

    def count(self, method: str, path: str = "*") -> int:
        """Return how many requests there were to a path, or to all that begin with `path*`."""
        return sum(_matches(f"{method} {path}", each) for each in list(self.requests))

    def refuse(self) -> None:
        """Refuse new connections; the port stays ours."""
        self._stop_listening()
        self._listener = self._bind(self.port)

    def hang_up(self) -> None:
        """End the connections that are open."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def listen(self) -> None:
        """Take connections."""
        self._listener.listen(_MOST_CONNECTIONS)
        self._start(self._accept, self._listener)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._stop_listening()
        self.hang_up()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=_PATIENCE_S)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        assert not stuck, f"threads of the faulty server did not end: {stuck}"

    @staticmethod
    def _bind(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()

    def _start(self, run: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=run, args=(sock,), name=f"faulty-{run.__name__}", daemon=True)
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                is_full = len(self._connections) >= _MOST_CONNECTIONS
                if not is_full:
                    self._connections.add(connection)
            if is_full:
                connection.close()
            else:
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_PATIENCE_S)
            while not self._stopping.is_set() and (request := _read_request(connection)):
                if not self._play(connection, self._reply_to(request)):
                    return
        except OSError:
            return  # the client left, which is what most of these tests are about
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)

    def _reply_to(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            keys = sorted((key for key in self._routes if _matches(key, request)), key=len)
            if not keys:
                return answer({"detail": "Not Found"}, 404)
            replies = self._routes[keys[-1]]
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply(request) if callable(reply) else reply

    def _play(self, connection: socket.socket, steps: Answer) -> bool:
        """Return whether the connection is still good for another request."""
        for step in steps:
            if isinstance(step, Reset):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if isinstance(step, Close):
                return False
            if isinstance(step, Wait):
                if self._is_left_within(connection, step.seconds):
                    return False
                continue
            for piece, pause_s in _pieces(step):
                connection.sendall(piece)
                self.sent_bytes += len(piece)
                if self._stopping.is_set() or (pause_s and self._is_left_within(connection, pause_s)):
                    return False
        return True

    def _is_left_within(self, connection: socket.socket, seconds: float) -> bool:
        """Wait, and return whether the client left meanwhile (or sent more, which no client here does)."""
        readable, _, _ = select.select([connection], [], [], seconds)
        return bool(readable)


def _matches(key: str, request: Request) -> bool:
    method, path = key.split(" ", 1)
    is_prefix = request.path.startswith(path[:-1]) if path.endswith("*") else request.path == path
    return method == request.method and is_prefix


def _pieces(step: Send | Drip | Repeat) -> Iterator[tuple[bytes, float]]:
    if isinstance(step, Send):
        yield step.data, 0.0
    elif isinstance(step, Drip):
        for at in range(0, len(step.data), step.piece_bytes):
            yield step.data[at : at + step.piece_bytes], step.every_s
    else:
        for _ in range(step.times):
            yield step.data, step.every_s


def _read_request(connection: socket.socket) -> Request | None:
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        chunk = connection.recv(65_536)
        if not chunk or len(received) > _LARGEST_REQUEST_BYTES:
            return None
        received += chunk
    first, *lines = received[:end].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = received[end + 4 :]
    while len(body) < int(headers.get("content-length", "0")):
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        body += chunk
    return Request(method, target, headers, bytes(body))


# ---------------------------------------------------------------------- healthy upstreams

NOT_FOUND: Final = answer({"detail": "Not Found"}, 404)


def play_plain(reply: Replies, *, config: Replies = NOT_FOUND) -> Routes:
    """Return the routes of a server that knows `POST /run/predict` and has no `/config`."""
    return {"GET /config": config, "POST /run/predict": reply}


@dataclass(frozen=True, slots=True)
class Gradio:
    """The routes of a Gradio app of 5.x, as far as one call needs them; each can be replaced.

    The stream says what recorded ones say: estimation, start, completion with one file, end.
    """

    audio: bytes
    prefix: str = "/gradio_api"
    config: Replies | None = None
    join: Replies = field(default_factory=lambda: answer({"event_id": EVENT_ID}))
    stream: Replies | None = None
    file: Replies | None = None
    cancel: Replies = field(default_factory=lambda: answer({"success": True}))

    @property
    def routes(self) -> Routes:
        file = answer(self.audio, content_type="application/octet-stream")
        return {
            "GET /config": answer(gradio_config(self.prefix)) if self.config is None else self.config,
            f"POST {self.prefix}/queue/join": self.join,
            f"GET {self.prefix}/queue/data": events(*gradio_messages()) if self.stream is None else self.stream,
            f"POST {self.prefix}/cancel": self.cancel,
            f"GET {self.prefix}/file=*": file if self.file is None else self.file,
        }


EVENT_ID: Final = "b8d3f6a1c2e4470f9a7b5c3d1e0f2a4b"
AUDIO_PATH: Final = "/tmp/gradio/7362f137c1a3e1fd/audio.wav"  # noqa: S108 - a name on the upstream's disk


def gradio_config(prefix: str = "/gradio_api", version: str = "5.50.0") -> dict[str, object]:
    """Return what is needed of the `/config` of a text-to-music app."""
    components = [
        (1, "textbox", {"label": "Prompt", "value": None}),
        (2, "slider", {"label": "Duration", "minimum": 1, "maximum": 30, "step": 1, "value": 10}),
        (3, "audio", {"label": "Music"}),
    ]
    return {
        "version": version,
        "api_prefix": prefix,
        "protocol": "sse_v3",
        "components": [{"id": number, "type": kind, "props": props} for number, kind, props in components],
        "dependencies": [
            {
                "id": 0,
                "inputs": [1, 2],
                "outputs": [3],
                "backend_fn": True,
                "queue": True,
                "api_name": "predict",
                "batch": False,
                "show_api": True,
                "types": {"generator": False, "cancel": False},
            }
        ],
        "root": "http://a-host-that-is-not-asked.invalid",
    }


def gradio_file(path: object = AUDIO_PATH, url: object = None) -> dict[str, object]:
    """Return a file as Gradio 4 and later describes one."""
    return {"path": path, "url": url, "size": None, "orig_name": "audio.wav", "mime_type": None, "is_stream": False,
            "meta": {"_type": "gradio.FileData"}}  # fmt: skip


def gradio_messages(*outputs: object, completed: Mapping[str, object] | None = None) -> list[object]:
    """Return what the queue says about one job: outputs (by default one file), or another completion."""
    done = {"output": {"data": list(outputs) or [gradio_file()], "is_generating": False}, "success": True}
    return [
        {"msg": "estimation", "event_id": EVENT_ID, "rank": 0, "queue_size": 1, "rank_eta": 0.02},
        {"msg": "process_starts", "event_id": EVENT_ID, "eta": 0.02},
        {"msg": "process_completed", "event_id": EVENT_ID, **(done if completed is None else completed)},
        {"msg": "close_stream", "event_id": None},
    ]


def gradio_failure(text: str | None, title: str = "Error") -> Answer:
    """Return the stream of a job whose function raised."""
    completed = {"output": {"error": text, "visible": True, "title": title}, "success": False, "title": title}
    return events(*gradio_messages(completed=completed))
