"""What the tests of the Hugging Face engine share: recorded bodies, a scripted server and a way to talk to it."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from requests.structures import CaseInsensitiveDict

from app.engines.engine import Brief
from app.engines.huggingface.transport import Answer, Conversation, Transport

FIXTURES: Final = Path(__file__).parents[3] / "fixtures" / "hf"
LIMIT_BYTES: Final = 2**20
BRIEF: Final = Brief("lofi beat", 10.0, 42, mood="calm", tempo_bpm=90, instruments=("piano", "strings"))
TEXT: Final = "lofi beat, calm mood, 90 BPM, with piano and strings"

_MEDIA_TYPES: Final = {
    ".json": "application/json",
    ".html": "text/html",
    ".txt": "text/plain; charset=utf-8",
    ".sse": "text/event-stream; charset=utf-8",
}


# ---------------------------------------------------------------------- recorded bodies


@functools.cache
def expectations() -> dict[str, dict[str, Any]]:
    """Return what each file of the folder becomes, by file name."""
    table: dict[str, dict[str, Any]] = json.loads((FIXTURES / "expectations.json").read_text("utf-8"))
    return table


def recorded(name: str) -> Answer:
    """Return the answer that a file of the folder holds."""
    path = FIXTURES / name
    headers = CaseInsensitiveDict({"Content-Type": _MEDIA_TYPES.get(path.suffix, "application/octet-stream")})
    headers.update(expectations().get(name, {}).get("headers", {}))
    return Answer(int(name[:3]), headers, path.read_bytes())


def names(*suffixes: str, but: bool = False) -> list[str]:
    """Return the files of the folder with these suffixes, or those without."""
    files = [path.name for path in FIXTURES.iterdir() if path.name[:3].isdecimal()]
    return sorted(name for name in files if name.endswith(suffixes) is not but)


# ---------------------------------------------------------------------- a scripted server


@dataclass(slots=True)
class Exchange:
    """One request, and the means to answer it in any way."""

    connection: socket.socket
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection_number: int
    is_over: bool = False

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def hang_up(self) -> None:
        self.is_over = True

    def answer(self, content: bytes | str, status: int = 200, **headers: str) -> None:
        """Send a whole answer; underscores in names become hyphens."""
        content = content.encode() if isinstance(content, str) else content
        head = {"Content-Type": "text/plain", "Content-Length": str(len(content))}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.send(f"HTTP/1.1 {status} Reason\r\n{lines}\r\n".encode("latin-1") + content)

    def answer_json(self, value: object, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(value), status, Content_Type="application/json", **headers)

    def json(self) -> Any:
        return json.loads(self.body)


Handler = Callable[[Exchange], None]


class Server:
    """A server on loopback; `handle` answers each request in a thread of its connection.

    Attributes:
        requests: What was asked, in order.
    """

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._connections = 0
        self.requests: list[Exchange] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def paths(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.requests]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._connections += 1
            threading.Thread(target=self._serve, args=(connection, self._connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as reader:
            while first := reader.readline():
                method, path, _ = first.decode("latin-1").split(" ", 2)
                headers: dict[str, str] = {}
                while (line := reader.readline().strip()) and b":" in line:
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", "0")))
                exchange = Exchange(connection, method, path, headers, body, number)
                self.requests.append(exchange)
                self._handle(exchange)
                if exchange.is_over:
                    return


@contextlib.contextmanager
def serve(handle: Handler) -> Iterator[Server]:
    server = Server(handle)
    try:
        yield server
    finally:
        server.close()


@dataclass(slots=True)
class Routes:
    """A handler that looks the answer up: a handler of its own, or a value that is sent as JSON.

    What is not there is answered with 404. A list is used up from the front; its last entry stays.
    """

    table: Mapping[str, object] = field(default_factory=dict)
    missing_status: int = 404

    def __call__(self, exchange: Exchange) -> None:
        path = exchange.path.partition("?")[0]
        reply = self.table.get(f"{exchange.method} {path}", self.table.get(path))
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply is None:
            exchange.answer_json({"detail": "Not Found"}, self.missing_status)
        elif callable(reply):
            reply(exchange)
        else:
            exchange.answer_json(reply)


def status(code: int, body: object = None, **headers: str) -> Handler:
    """Return a handler that answers with a status and JSON, or bytes as they are."""

    def handle(exchange: Exchange) -> None:
        if isinstance(body, bytes):
            exchange.answer(body, code, **headers)
        else:
            exchange.answer_json({} if body is None else body, code, **headers)

    return handle


def event_stream(content: bytes | str) -> Handler:
    """Return a handler that sends an event stream, chunked, and ends it well."""
    content = content.encode() if isinstance(content, str) else content

    def handle(exchange: Exchange) -> None:
        exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        if content:
            exchange.send(b"%x\r\n%s\r\n" % (len(content), content))
        exchange.send(b"0\r\n\r\n")

    return handle


def queue_events(*messages: object) -> Handler:
    """Return a handler that sends messages of Gradio's queue."""
    return event_stream("".join(f"data: {json.dumps(message)}\n\n" for message in messages))


def call_events(*events: tuple[str, object]) -> Handler:
    """Return a handler that sends events of Gradio's `/call`."""
    return event_stream("".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events))


def completed(*outputs: object) -> Handler:
    """Return a handler that sends a queue's stream of a function that succeeds."""
    return queue_events({"msg": "process_completed", "output": {"data": list(outputs)}, "success": True})


# ---------------------------------------------------------------------- our side


def new_transport(
    *,
    connect_timeout_s: float = 2.0,
    silence_timeout_s: float = 2.0,
    limit_bytes: int = LIMIT_BYTES,
    authorities: str | None = None,
) -> Transport:
    return Transport(
        connect_timeout_s=connect_timeout_s,
        silence_timeout_s=silence_timeout_s,
        limit_bytes=limit_bytes,
        connections=4,
        authorities=authorities,
    )


def converse(server: Server, **headers: str) -> Conversation:
    return new_transport().converse(server.url, headers)


# ---------------------------------------------------------------------- a Gradio app


def component(number: int, kind: str, **props: object) -> dict[str, object]:
    return {"id": number, "type": kind, "props": props, "skip_api": kind == "state"}


def dependency(
    inputs: list[int], outputs: list[int], api_name: object = "predict", **more: object
) -> dict[str, object]:
    return {"inputs": inputs, "outputs": outputs, "api_name": api_name, "backend_fn": True, **more}


SIMPLE_COMPONENTS: Final = [
    component(1, "textbox", label="Prompt"),
    component(2, "slider", label="Duration", minimum=1, maximum=30, step=1, value=10),
    component(3, "audio", label="Music"),
]


def gradio_config(
    version: str = "6.31.0",
    *,
    components: list[dict[str, object]] | None = None,
    dependencies: list[dict[str, object]] | None = None,
    **more: object,
) -> dict[str, object]:
    """Return `/config` of an app with one function `/predict`: prompt and duration in, audio out."""
    prefix = {"api_prefix": "/gradio_api"} if int(version.partition(".")[0]) >= 5 else {}
    return {
        "version": version,
        "mode": "blocks",
        **prefix,
        "components": components or SIMPLE_COMPONENTS,
        "dependencies": dependencies or [dependency([1, 2], [3])],
        **more,
    }


def structure(value: object) -> Any:
    """Return a value as it looks after a trip through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
