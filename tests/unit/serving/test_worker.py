"""gunicorn's worker with its real loop, parser and threads, over real sockets; only the clock is ours.

The worker runs in a thread of the test with very few threads of its own, so that whoever occupies one is noticed.
"""

from __future__ import annotations

import email
import errno
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import structlog
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import NoMoreData
from real.programs import wait_for

from app.errors import InternalError, InvalidRequest, Overloaded, RequestTimeout
from app.serving.arrival import MAX_HEAD_BYTES
from app.serving.worker import Limits, Worker, _Collected

GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
LARGE = b"x" * 8_000_000
MAX_BODY_BYTES = 10_000

WAITS = b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n"


class Busy:
    """Has requests wait until all of them may go on."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.waiting = 0

    def wait(self) -> None:
        with self._lock:
            self.waiting += 1
        self._over.wait(10)
        with self._lock:
            self.waiting -= 1

    def set(self) -> None:
        """Let those go on who wait, and all who come."""
        self._over.set()

    def clear(self) -> None:
        self._over.clear()
        self.waiting = 0


BUSY = Busy()
"""What all `/waits` wait for."""

StartResponse = Callable[[str, list[tuple[str, str]]], object]


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with what was understood; `/large` with megabytes, `/unread` without a look at the body."""
    path = environ["PATH_INFO"]
    if path in {"/waits", "/express-waits"}:
        BUSY.wait()
    if path == "/fails":
        raise ValueError("secret")
    status, content = "200 OK", LARGE if path == "/large" else b"unread"
    if path in {"/echo", "/express"}:
        try:
            content = f"{environ['REQUEST_METHOD']} {path}?{environ['QUERY_STRING']} ".encode()
            content += environ["wsgi.input"].read()
        except OSError:
            status, content = "400 Bad Request", b"broke off"
    if path == "/arrived":
        content = str(environ["gunicorn.socket"].arrived_s).encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
    return [content]


class Running:
    """A worker at work."""

    def __init__(self, *, keepalive_s: int = 75, **changed: object) -> None:
        self.now_s = 1_000.0
        chosen: dict[str, Any] = {
            "max_body_bytes": MAX_BODY_BYTES,
            "request_timeout_s": 15.0,
            "send_timeout_s": 60.0,
            "max_waiting": 100,
            "max_waiting_bytes": 1_000_000,
            "max_queued": 100,
            "max_queued_bytes": 1_000_000,
            "max_slow_readers": 1,
            "max_slow_bytes": 100_000_000,
            "express": (b"GET /express ",),
            **changed,
        }

        class Limited(Worker):
            limits = Limits(**chosen)
            clock = staticmethod(lambda: self.now_s)

        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = listener.getsockname()[1]
        cfg = Config()
        options: dict[str, object] = {
            "threads": 2,
            "keepalive": keepalive_s,
            "sendfile": False,
            "limit_request_fields": 64,
        }
        for name, value in options.items():
            cfg.set(name, value)
        self.worker = Limited(1, os.getppid(), [listener], None, 30, cfg, Logger(cfg))
        self.worker.wsgi = application
        self.worker.tpool = self.worker.get_thread_pool()
        self.worker.poller = selectors.DefaultSelector()
        self.worker.method_queue.init()
        self._loop = threading.Thread(target=self.worker.run)
        self._loop.start()
        self._opened: list[socket.socket] = []

    def connect(self, content: bytes = b"", *, buffer_bytes: int | None = None) -> socket.socket:
        connection = socket.socket()
        self._opened.append(connection)
        if buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(content)
        return connection

    def waits_for(self, count: int) -> None:
        """Return when so many connections wait for something."""
        wait_for(lambda: len(self.worker._waiting) == count, limit_s=5)

    def collected(self, count: int) -> None:
        """Return when so many bytes have been collected."""
        wait_for(lambda: self.worker._waiting_bytes == count, limit_s=5)

    def advance(self, seconds: float) -> None:
        """Move the clock, and have the loop look at it."""
        self.now_s += seconds
        looked = threading.Event()
        # The first turn of the loop runs this, and looks at the clock behind it; the second one tells.
        self.worker.method_queue.defer(lambda: self.worker.method_queue.defer(looked.set))
        assert looked.wait(5)

    def stop(self) -> None:
        for each in self._opened:
            each.close()
        self.worker.alive = False
        while self._loop.is_alive():
            with suppress(OSError):  # its pipe is closed already
                self.worker.method_queue.defer(lambda: None)
            self.now_s += 1
            self._loop.join(0.02)
        self.worker.tpool.shutdown()
        self.worker.tmp.close()


Run = Callable[..., Running]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start workers, with these limits changed."""
    BUSY.clear()
    started: list[Running] = []

    def start(**changed: Any) -> Running:
        started.append(Running(**changed))
        return started[-1]

    yield start
    BUSY.set()
    for each in started:
        each.stop()


@pytest.fixture
def running(run: Run) -> Running:
    return run()


def read(connection: socket.socket, size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < size_bytes:
        content += connection.recv(min(65_536, size_bytes - len(content)))
    return bytes(content)


class Reply:
    """One answer."""

    def __init__(self, connection: socket.socket, method: str = "GET") -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # one by one: the next answer may be right behind this one
            byte = connection.recv(1)
            assert byte, f"the connection ended behind {head!r}"
            head += byte
        line, _, lines = head.partition(b"\r\n")
        self.status = int(line.split(b" ")[1])
        self.headers = email.message_from_bytes(lines)
        self.content = b"" if method == "HEAD" else read(connection, int(self.headers["Content-Length"]))

    @property
    def code(self) -> object:
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(self.content)
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["X-Request-ID"]
        return problem["code"]


def end_of(connection: socket.socket) -> bytes:
    """Return all that comes until the connection ends."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


# ---------------------------------------------------------------------- requests that arrive


def test_who_drips_keeps_no_thread_from_others(running: Running) -> None:
    dripping = [running.connect(each) for each in [GET[:-1], POST + b"Content-Length: 5\r\n\r\nhell"] * 20]
    running.waits_for(len(dripping))

    assert Reply(running.connect(GET)).content == b"GET /echo? "
    for number, each in enumerate(dripping):
        each.sendall(b"o" if number % 2 else b"\n")
        assert Reply(each).content == (b"POST /echo? hello" if number % 2 else b"GET /echo? ")


@pytest.mark.parametrize(
    "begun",
    [b"GET / HTTP/1.1\r\n", POST + b"Content-Length: 5\r\n\r\n1", POST + b"Transfer-Encoding: chunked\r\n\r\n5"],
)
def test_who_is_too_slow_is_told(running: Running, begun: bytes) -> None:
    connection = running.connect(begun)
    running.collected(len(begun))

    running.advance(14)
    connection.sendall(b"1")  # whoever drips gains no time
    running.collected(len(begun) + 1)
    running.advance(1)

    reply = Reply(connection)
    assert reply.status == 408
    assert reply.code == RequestTimeout.code()
    assert reply.headers["Connection"] == "close"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert end_of(connection) == b""


def test_who_has_not_asked_for_anything_gets_no_answer(running: Running) -> None:
    connection = running.connect(b"GE")
    running.collected(2)

    running.advance(15)

    assert end_of(connection) == b""


def test_who_says_nothing_may_stay_for_a_while(run: Run) -> None:
    running = run(keepalive_s=75)
    fresh, used = running.connect(), running.connect(GET)
    Reply(used)
    running.waits_for(2)

    running.advance(74)
    used.sendall(GET)
    assert Reply(used).status == 200
    running.waits_for(2)
    running.advance(1)

    assert end_of(fresh) == b""
    used.sendall(GET)
    assert Reply(used).status == 200


def test_who_leaves_is_forgotten(running: Running) -> None:
    connection = running.connect()
    running.waits_for(1)

    connection.close()

    running.waits_for(0)
    wait_for(lambda: running.worker.nr_conns == 0)


def test_requests_that_come_together_are_answered_in_turn(running: Running) -> None:
    content = [b"GET /echo?%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)]
    connection = running.connect(b"".join(content)[:-7])

    assert [Reply(connection).content for _ in range(4)] == [b"GET /echo?%d " % number for number in range(4)]
    connection.sendall(content[-1][-7:] + LAST_GET)
    assert Reply(connection).content == b"GET /echo?4 "
    assert Reply(connection).content == b"GET /echo? "
    assert end_of(connection) == b""


@pytest.mark.parametrize("path", [b"/unread", b"/echo"])
def test_a_connection_is_used_again_behind_a_body(running: Running, path: bytes) -> None:
    chunked = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" % path
    counted = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" % path
    connection = running.connect(chunked + counted)

    expected = b"POST /echo? hello" if path == b"/echo" else b"unread"
    for _ in range(2):
        assert Reply(connection).content == expected
    connection.sendall(counted)
    assert Reply(connection).content == expected


def test_old_clients_are_served_and_left(running: Running) -> None:
    connection = running.connect(b"GET /echo HTTP/1.0\r\n\r\n")

    assert Reply(connection).content == b"GET /echo? "
    assert end_of(connection) == b""


def test_only_the_headers_are_sent_to_who_asks_for_them(running: Running) -> None:
    connection = running.connect(b"HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n")

    reply = Reply(connection, method="HEAD")
    assert reply.headers["Content-Length"] == str(len(LARGE))
    connection.sendall(GET)
    assert Reply(connection).content == b"GET /echo? "


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GET, b"HTTP/1.1 200 "),
        (POST + b"Content-Length: 5\r\n\r\nhell", b"HTTP/1.1 400 "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell", b"HTTP/1.1 400 "),
        (GET[:-2], b""),
    ],
)
def test_who_has_sent_all_there_is_need_not_wait(running: Running, content: bytes, expected: bytes) -> None:
    connection = running.connect(content)
    connection.shutdown(socket.SHUT_WR)

    assert end_of(connection)[: len(expected) or None] == expected


def test_who_asks_is_told_to_go_on_once(running: Running) -> None:
    connection = running.connect(POST + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")

    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"hello")
    connection.sendall(b"again")
    response = connection.recv(1_000)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"100 Continue" not in response


def test_who_asks_for_too_much_is_not_told_to_go_on(running: Running) -> None:
    connection = running.connect(POST + b"Expect: 100-continue\r\nContent-Length: 10001\r\n\r\n")

    assert connection.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_what_is_too_large_is_answered_before_it_has_come(running: Running) -> None:
    large = b"x" * 3_000_000
    connection = running.connect(POST + b"Content-Length: %d\r\n\r\n" % len(large))
    connection.sendall(large)

    reply = Reply(connection)

    assert reply.content == b"broke off"
    assert reply.headers["Connection"] == "close"
    assert end_of(connection) == b""


def test_nobody_is_heard_out_for_ever(running: Running) -> None:
    connection = running.connect(POST + b"Content-Length: 99999999\r\n\r\n")
    assert Reply(connection).status == 400
    running.waits_for(1)

    running.advance(2)

    running.waits_for(0)
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        connection.sendall(b"x" * 10_000_000)


def test_nobody_is_heard_out_without_bound(running: Running) -> None:
    connection = running.connect(POST + b"Content-Length: 99999999\r\n\r\n")

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        connection.sendall(b"x" * 100_000_000)


# ---------------------------------------------------------------------- requests that cannot be read

UNREADABLE = {
    "method": b"get# / HTTP/1.1\r\n\r\n",
    "line": b"NOT HTTP\r\n\r\n",
    "target": b"GET /s\xe9cret HTTP/1.1\r\n\r\n",
    "version": b"GET / HTTP/3.1\r\n\r\n",
    "long line": b"GET /" + b"secret" * 1_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"A: secret\r\n" * 65 + b"\r\n",
    "long header": b"GET / HTTP/1.1\r\nA: " + b"secret" * 2_000 + b"\r\n\r\n",
    "endless headers": b"GET / HTTP/1.1\r\n" + b"A: secret\r\n" * (MAX_HEAD_BYTES // 11 + 1),
    "header": b"GET / HTTP/1.1\r\nA secret\r\n\r\n",
    "header name": b"GET / HTTP/1.1\r\nA secret: b\r\n\r\n",
    "host twice": b"GET / HTTP/1.1\r\nHost: secret\r\nHost: x\r\n\r\n",
    "coding": POST + b"Transfer-Encoding: secret\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "expectation": POST + b"Expect: secret\r\n\r\n",
    "line feeds": b"GET / HTTP/1.0\n\n",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_a_problem_too(running: Running, content: bytes) -> None:
    connection = running.connect(content)

    reply = Reply(connection)

    assert reply.status == 400
    assert reply.code == InvalidRequest.code()
    assert reply.headers["Connection"] == "close"
    assert b"cret" not in reply.content
    assert end_of(connection) == b""
    assert Reply(running.connect(GET)).status == 200


def test_a_failure_of_ours_is_one_too(running: Running) -> None:
    reply = Reply(running.connect(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n"))

    assert reply.status == 500
    assert reply.code == InternalError.code()
    assert b"secret" not in reply.content


# ---------------------------------------------------------------------- bodies that nobody reads


@pytest.mark.parametrize(
    "body",
    [b"5 \r\nhello\r\n0\r\n\r\n", b"5;=\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nA b: c\r\n\r\n"],
    ids=["size", "extension", "trailer"],
)
def test_a_request_has_one_answer_whatever_follows_it(running: Running, body: bytes) -> None:
    """gunicorn finds out when the answer is sent: a second one would be taken for that to another request."""
    connection = running.connect(b"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + GET)

    assert Reply(connection).content == b"unread"
    assert end_of(connection) == b""


@pytest.mark.parametrize("chunk_bytes", [5, 6, 1_000])
def test_small_chunks_are_read_in_small_pieces(running: Running, chunk_bytes: int) -> None:
    """The parser copies what is left of a piece for each chunk in it: of one large piece, megabytes for each KiB."""
    body = b"x" * 10_000
    chunks = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    content = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    unreader = _Collected()
    unreader.collect(content)
    sizes = [len(piece) for piece in iter(lambda: _next(unreader), b"")]

    connection = running.connect(POST + b"Transfer-Encoding: chunked\r\n\r\n" + content + GET)

    assert max(sizes) <= 1_024
    assert sum(sizes) == len(content)
    assert Reply(connection).content == b"POST /echo? " + body
    assert Reply(connection).content == b"GET /echo? "


def _next(unreader: _Collected) -> bytes:
    try:
        return unreader.chunk()
    except NoMoreData:
        return b""


def test_what_was_read_is_not_kept() -> None:
    unreader = _Collected()
    unreader.collect(b"x" * 3_000)

    assert unreader.read(10, read_ahead=3_000) == b"x" * 10
    assert unreader._rest.obj == b"", "a part of it, however small, keeps all of it in memory"
    assert unreader.take_buffered() == b"x" * 2_990
    assert unreader.take_buffered() == b""


# ---------------------------------------------------------------------- too many


def test_the_oldest_goes_for_one_more(run: Run) -> None:
    running = run(max_waiting=3)
    first = running.connect()
    running.waits_for(1)
    others = [running.connect() for _ in range(2)]
    running.waits_for(3)

    last = running.connect()

    assert end_of(first) == b""
    for each in (*others, last):
        each.sendall(GET)
        assert Reply(each).status == 200


def test_unfinished_requests_share_the_memory_there_is(run: Run) -> None:
    running = run(max_waiting_bytes=12_000)
    begun = POST + b"Content-Length: 10000\r\n\r\n"
    begun += b"x" * (5_000 - len(begun))
    first, second = running.connect(begun), None
    running.collected(5_000)
    second = running.connect(begun)
    running.collected(10_000)

    third = running.connect(begun)

    running.collected(10_000)
    with suppress(ConnectionResetError):
        assert end_of(first) == b""
    for each in (second, third):
        each.sendall(b"x" * 10_000)
        assert Reply(each).status == 200


def test_who_has_sent_nothing_need_not_go_for_what_others_send(run: Run) -> None:
    running = run(max_waiting_bytes=12_000)
    silent = []
    for _ in range(5):
        silent.append(running.connect(GET))
        assert Reply(silent[-1]).status == 200
    running.waits_for(5)
    begun = POST + b"Content-Length: 10000\r\n\r\n"
    begun += b"x" * (5_000 - len(begun))
    sending = []
    for number in range(4):
        sending.append(running.connect(begun))
        running.collected(min(number + 1, 2) * 5_000)
        wait_for(lambda number=number: running.worker._too_many == max(number - 1, 0))  # type: ignore[misc]

    for each in silent:
        each.sendall(GET)
        assert Reply(each).status == 200
    for each in sending[:2]:
        with suppress(ConnectionResetError):
            assert end_of(each) == b""


def test_only_so_many_large_bodies_are_collected_at_a_time(run: Run) -> None:
    """Or else whoever sends something ordinary would have to go for them."""
    running = run(larger_bodies=((b"POST /large ", 200_000),), max_large=2, max_waiting_bytes=500_000)
    begun = POST + b"Content-Length: 10000\r\n\r\n"
    ordinary = running.connect(begun)
    large = b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
    senders = []
    for number in range(2):
        senders.append(running.connect(large + b"x" * 150_000))
        running.collected(len(begun) + (number + 1) * (len(large) + 150_000))

    refused = Reply(running.connect(large + b"x" * 150_000))

    assert (refused.status, refused.code) == (503, Overloaded.code())
    for sender in senders:
        sender.sendall(b"x" * 50_000)
        assert Reply(sender).status == 200
    ordinary.sendall(b"x" * 10_000)
    assert Reply(ordinary).status == 200
    again = running.connect(large + b"x" * 200_000)
    assert Reply(again).status == 200
    assert running.worker._large == 0


@pytest.mark.parametrize("limit", [{"max_queued": 3}, {"max_queued_bytes": 3 * len(WAITS)}], ids=["count", "bytes"])
def test_only_so_many_wait_for_a_thread(run: Run, limit: dict[str, int]) -> None:
    """Behind them nobody would be accepted any more, not even those who ask whether the service is well."""
    running = run(**limit)
    working = [running.connect(WAITS) for _ in range(2)]
    wait_for(lambda: BUSY.waiting == 2)
    queued = [running.connect(WAITS) for _ in range(3)]
    wait_for(lambda: running.worker._queue._count == 3)

    try:
        reply = Reply(running.connect(WAITS))
        assert (reply.status, reply.code) == (503, Overloaded.code())
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.headers["Connection"] == "close"
        assert Reply(running.connect(b"GET /express HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    finally:
        BUSY.set()
    assert [Reply(each).status for each in (*working, *queued)] == [200] * 5
    assert Reply(running.connect(GET)).status == 200
    assert (running.worker._queue._count, running.worker._queue._bytes) == (0, 0)
    assert (running.worker._express_queue._count, running.worker._express_queue._bytes) == (0, 0)


def test_who_waits_for_a_thread_arrived_before(run: Run) -> None:
    running = run()
    working = [running.connect(WAITS) for _ in range(2)]
    wait_for(lambda: BUSY.waiting == 2)
    queued = running.connect(b"GET /arrived HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: running.worker._queue._count == 1)
    arrived_s = running.now_s

    running.now_s += 7
    BUSY.set()

    assert Reply(queued).content == str(arrived_s).encode()
    assert [Reply(each).status for each in working] == [200] * 2
    queued.sendall(b"GET /arrived HTTP/1.1\r\nHost: x\r\n\r\n")
    assert Reply(queued).content == str(arrived_s + 7).encode()


def test_a_flood_leaves_those_alone_who_come_with_a_whole_request(run: Run) -> None:
    running = run(max_waiting=5)
    for _ in range(30):
        running.connect(b"GET / HT")
        assert Reply(running.connect(LAST_GET)).status == 200


def test_what_must_never_wait_has_threads_of_its_own(run: Run) -> None:
    running = run()
    waiting = [running.connect(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(5)]

    try:
        assert Reply(running.connect(b"GET /express HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        assert Reply(running.connect(b"GET /express HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    finally:
        BUSY.set()
    assert [Reply(each).status for each in waiting] == [200] * 5


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
def test_what_has_a_body_waits_like_all_others(run: Run, body: bytes) -> None:
    running = run()
    working = [running.connect(WAITS) for _ in range(2)]
    wait_for(lambda: BUSY.waiting == 2)

    with_body = running.connect(b"GET /express HTTP/1.1\r\nHost: x\r\n" + body)
    wait_for(lambda: running.worker._queue._count == 1)

    BUSY.set()
    assert Reply(with_body).content == b"GET /express? {}"
    assert [Reply(each).status for each in working] == [200] * 2


def test_a_flood_of_what_must_never_wait_waits_like_all_others(run: Run) -> None:
    express = b"GET /express-waits HTTP/1.1\r\nHost: x\r\n\r\n"
    running = run(express=(b"GET /express-waits ",), max_queued=2)
    asking = [running.connect(express) for _ in range(2)]
    wait_for(lambda: BUSY.waiting == 2)
    asking += [running.connect(express) for _ in range(4)]  # two of them find two threads among all others

    wait_for(lambda: BUSY.waiting == 4)
    BUSY.set()
    assert [Reply(each).status for each in asking] == [200] * 6


def test_nobody_keeps_those_threads_by_not_reading(running: Running) -> None:
    many = b"GET /express HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000
    for number in range(3):
        with suppress(ConnectionError):  # it is over before all of them are sent, or not
            running.connect(many, buffer_bytes=4_096)
        wait_for(lambda number=number: running.worker._too_slow > number)  # type: ignore[misc]

    assert Reply(running.connect(b"GET /express HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


class _NoFiles:
    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class _Gone:
    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def test_without_files_the_oldest_goes(running: Running) -> None:
    first, second = running.connect(), None
    running.waits_for(1)
    second = running.connect()
    running.waits_for(2)

    running.worker.method_queue.defer(running.worker.accept, _NoFiles())
    running.worker.method_queue.defer(running.worker.accept, _Gone())

    assert end_of(first) == b""
    second.sendall(GET)
    assert Reply(second).status == 200


def test_who_went_for_another_one_goes_once_only(running: Running) -> None:
    """The one that has to go may have become readable at the same time: its event comes when it is closed already."""
    connection = running.connect()
    running.waits_for(1)
    (conn,) = running.worker._waiting

    running.worker.method_queue.defer(running.worker._let_oldest_go)
    running.worker.method_queue.defer(running.worker._receive, conn, None)

    assert end_of(connection) == b""
    running.advance(0)
    assert running.worker.nr_conns == 0


def test_slow_readers_leave_a_thread_for_the_others(run: Run) -> None:
    """Two threads, of which slow readers may keep one: with three of them, two are cut off."""
    running = run(max_slow_readers=1)
    slow = []
    for _ in range(3):
        slow.append(running.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", buffer_bytes=16_384))
        assert slow[-1].recv(1) == b"H"
        assert Reply(running.connect(GET)).status == 200
        wait_for(lambda: running.worker._too_slow == len(slow) - 1 and len(running.worker._readers) == 1)
        running.now_s += 1

    for each in slow[:2]:
        with suppress(ConnectionResetError):  # or an early end, when all that was under way is read before it
            assert len(end_of(each)) < len(LARGE)
    assert len(read(slow[2], len(LARGE))) == len(LARGE)


def test_what_happened_is_written_down_now_and_then(run: Run) -> None:
    running = run(max_waiting=2)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            running.connect(GET[:20])
        wait_for(lambda: running.worker._too_many == 1)
        running.collected(40)
        running.advance(20)
        running.advance(20)

    assert [line for line in lines if line["event"] == "cut off callers"] == [
        {"event": "cut off callers", "log_level": "warning", "too_slow": 2, "too_many": 1, "refused": 0}
    ]


# ---------------------------------------------------------------------- the end


def test_a_stopping_worker_does_not_wait_for_the_silent(running: Running) -> None:
    silent, arriving = running.connect(), running.connect(GET[:20])
    running.collected(20)
    running.waits_for(2)

    running.worker.alive = False
    running.advance(0)
    running.advance(2)

    assert end_of(silent) == b""
    arriving.sendall(GET[20:])
    reply = Reply(arriving)
    assert reply.status == 200
    assert reply.headers["Connection"] == "close"


def test_a_stopping_worker_takes_those_who_are_connected_and_no_others(running: Running) -> None:
    """Whoever is neither taken nor refused waits until the last of the others is done."""
    arriving = running.connect(GET[:20])
    running.collected(20)
    held, released = threading.Event(), threading.Event()
    running.worker.method_queue.defer(held.set)
    running.worker.method_queue.defer(released.wait, 5)
    assert held.wait(5)
    connected = [running.connect(GET) for _ in range(40)]

    running.worker.alive = False
    released.set()

    assert [Reply(each).status for each in connected] == [200] * 40
    with pytest.raises(ConnectionRefusedError):
        running.connect()
    arriving.sendall(GET[20:])
    assert Reply(arriving).status == 200


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("certfile", "certificate.pem", "TLS (certfile, keyfile)"),
        ("keyfile", "key.pem", "TLS (certfile, keyfile)"),
        ("protocol", "uwsgi", "protocol=uwsgi"),
        ("proxy_protocol", "auto", "proxy_protocol=auto"),
        ("http2_cleartext", "upgrade", "http2_cleartext=upgrade"),
    ],
)
def test_nothing_is_served_but_plain_http(option: str, value: str, named: str) -> None:
    cfg = Config()
    cfg.settings[option].value = value  # as it is, because gunicorn wants to see the files

    with pytest.raises(SystemExit) as refused:
        Worker.check_config(cfg, Logger(Config()))

    assert refused.value.code == f"Studio serves plain HTTP/1.1 and not {named}: put a proxy in front that does."


def test_plain_http_is_served() -> None:
    Worker.check_config(Config(), Logger(Config()))
