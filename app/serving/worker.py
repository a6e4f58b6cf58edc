"""Worker: gunicorn's threads, which get only requests that are complete.

gunicorn gives a connection to a thread as soon as something arrives on it, and the thread then waits for the rest,
for as long as the sender likes: a few hundred connections that drip take every thread there is. Here one loop
holds all connections that have nothing to do yet: those that are silent, those whose request is still arriving, and
those that were answered and must only be heard out. No thread ever reads from a caller.

Source: gunicorn 27 (`workers/gthread.py`, `http/`), whose loop, parser and threads are used as they are. It would serve
TLS, the PROXY protocol, uWSGI and HTTP/2 in its own way; those are refused when it starts.
"""

from __future__ import annotations

import errno
import json
import math
import socket
import sys
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any, ClassVar, Final

import structlog
from gunicorn.http import errors as http_errors
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from app import turns
from app.errors import InternalError, InvalidRequest, Overloaded, RequestTimeout, StudioError, problem
from app.gate import Gate, Pass
from app.retry import Deadline
from app.serving.arrival import Arrival
from app.serving.readers import Outlet, SlowReaders

_log = structlog.get_logger(__name__)

_RECEIVE_BYTES: Final = 32 * 1024
_PIECE_BYTES: Final = 1024
"""What the parser gets at a time. It copies what is left of a piece for each chunk in it, and again for each line."""

_HEARD_OUT_BYTES: Final = 8 * 2**20
_HEARD_OUT_S: Final = 2.0
_SWEEP_S: Final = 0.25
_EXPRESS_THREADS: Final = 2
_ACCEPTED_AT_ONCE: Final = 32
_TURNS_AT_ONCE: Final = 1
_LONGEST_TURN_S: Final = 0.05
_SWITCH_S: Final = 0.001
_REPORT_S: Final = 10.0
_PAUSE_S: Final = 0.05
_RETRY_WHEN_FULL_S: Final = 5.0
"""What `Retry-After` says when no more requests may wait for a thread."""

_STOP_LINGER_S: Final = 2.0
"""How long a stopping worker keeps silent connections, for a request that may be on its way; gunicorn's own figure."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_FILES_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_FAULTS: Final = (
    (http_errors.LimitRequestLine, "The request line is too long."),
    (http_errors.LimitRequestHeaders, "The header lines are too many or too long."),
    (http_errors.InvalidRequestLine, "The request line is not valid HTTP."),
    (http_errors.InvalidRequestMethod, "The request's method is not valid HTTP."),
    (http_errors.InvalidHTTPVersion, "The request's HTTP version is not understood."),
    (http_errors.UnsupportedTransferCoding, "The request's transfer coding is not understood."),
    (http_errors.ExpectationFailed, "No other expectation than `100-continue` can be met."),
    (http_errors.InvalidHeaderName, "A header line has a name that is not valid HTTP."),
    (http_errors.InvalidHeader, "A header line is not valid HTTP."),
    (http_errors.ParseException, "The request is not valid HTTP."),
)
"""What gunicorn's parser finds, in our words: its own would repeat the request."""

_OUR_FAULTS: Final = (
    http_errors.ConfigurationProblem,
    http_errors.InvalidResponseHeader,
    http_errors.InvalidResponseHeaderName,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may take up.

    Attributes:
        max_body_bytes: Largest body that is collected; what is larger is handed on to be refused.
        larger_bodies: Beginnings of request lines, and the limit that holds for those in its place.
        max_large: Requests with such bodies that are collected at a time; further ones are refused.
        request_timeout_s: From the first byte of a request to its last.
        send_timeout_s: For a step of an answer to be taken, see `readers.STEP_BYTES`.
        max_waiting: Connections that have nothing to do yet; the oldest goes for each one more.
        max_waiting_bytes: What those have sent, together; of those who have sent something, the oldest go for more.
        max_queued: Complete requests that wait for a thread; further ones are refused.
        max_queued_bytes: Those requests together.
        max_slow_readers: Threads that wait for callers to take their answers.
        max_slow_bytes: The answers that those hold in memory, together.
        express: How requests begin that have a few threads to themselves, because they must never wait for others.
    """

    max_body_bytes: int
    request_timeout_s: float
    send_timeout_s: float
    max_waiting: int
    max_waiting_bytes: int
    max_queued: int
    max_queued_bytes: int
    max_slow_readers: int
    max_slow_bytes: int
    express: tuple[bytes, ...]
    larger_bodies: tuple[tuple[bytes, int], ...] = ()
    max_large: int = 0


class _Collected(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """What was collected of a request, as gunicorn's parser reads it. There is no more of it to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = memoryview(b"")

    def collect(self, content: bytes) -> None:
        """Have this read next."""
        self._rest = memoryview(content)

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next piece, as large as gunicorn says that it may be, and at least a small one.

        Raises:
            NoMoreData: everything has been read.
        """
        if not self._rest:
            raise http_errors.NoMoreData
        size_bytes = max(size_hint or 0, _PIECE_BYTES)
        piece = bytes(self._rest[:size_bytes])
        # An empty rest would keep all of the content in memory, for as long as the request is being answered.
        self._rest = self._rest[size_bytes:] or memoryview(b"")
        return piece

    def take_buffered(self) -> bytes:
        """Return all that was not read, and forget it."""
        rest, self._rest = bytes(self._rest), memoryview(b"")
        buffered: bytes = super().take_buffered()
        return buffered + rest


class _Queue:
    """How many complete requests wait for a thread; the loop lets them in, and threads take them out."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._count = self._bytes = 0

    def enter(self, size_bytes: int) -> bool:
        """Let one in, and tell whether there was room for it."""
        with self._lock:
            has_room = (
                self._count < self._limits.max_queued and self._bytes + size_bytes <= self._limits.max_queued_bytes
            )
            if has_room:
                self._count += 1
                self._bytes += size_bytes
        return has_room

    def leave(self, size_bytes: int) -> None:
        with self._lock:
            self._count -= 1
            self._bytes -= size_bytes


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A caller's connection, and the request that arrives on it.

    Attributes:
        arrival: The request.
        until_s: When something must have happened, in monotonic time.
        was_told_to_continue: Whether the sender was told to send the body too.
        queued_bytes: Size of the complete request that waits for a thread.
        heard_bytes: What was heard out after the last answer; None before that.
    """

    def __init__(self, cfg: object, sock: Outlet, client: object, server: object) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = RequestParser(cfg, (), client)
        self.parser.unreader = _Collected()
        self.data_ready = True
        self.arrival: Arrival | None = None
        self.until_s = 0.0
        self.was_told_to_continue = False
        self.queued_bytes = 0
        self.heard_bytes: int | None = None

    def init(self) -> None:
        """Do nothing: gunicorn's threads ask for a parser here, and it is there already."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come of a request that may or may not come."""
        return self.arrival is not None and not self.arrival.content

    @property
    def has_sent(self) -> bool:
        """Whether something of a request is kept here."""
        return self.arrival is not None and bool(self.arrival.content)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, within `limits`; whoever configures a server derives a class that has them."""

    limits: ClassVar[Limits]
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")
        self._turns = Gate(_TURNS_AT_ONCE, longest_stay_s=_LONGEST_TURN_S)
        self._express = ThreadPoolExecutor(_EXPRESS_THREADS, thread_name_prefix="express")
        self._queue, self._express_queue = _Queue(self.limits), _Queue(self.limits)
        self._readers = SlowReaders(
            limit=self.limits.max_slow_readers,
            max_bytes=self.limits.max_slow_bytes,
            timeout_s=self.limits.send_timeout_s,
        )
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._waiting_bytes = 0
        self._large = 0
        self._swept_at_s = self._reported_at_s = self.clock()
        self._is_stopping = False
        self._too_slow = self._too_many = self._refused = 0

    @classmethod
    def check_config(cls, cfg: Any, log: object) -> None:
        """Refuse to start where connections would not be plain HTTP/1, because no limit would hold for those.

        Raises:
            SystemExit: the configuration asks for something else.
        """
        asked = {
            "TLS (certfile, keyfile)": bool(cfg.is_ssl),
            f"protocol={cfg.protocol}": cfg.protocol != "http",
            f"proxy_protocol={cfg.proxy_protocol}": cfg.proxy_protocol != "off",
            f"http2_cleartext={cfg.http2_cleartext}": cfg.http2_cleartext != "off",
        }
        if any(asked.values()):
            names = ", ".join(name for name, is_asked in asked.items() if is_asked)
            sys.exit(f"Studio serves plain HTTP/1.1 and not {names}: put a proxy in front that does.")
        super().check_config(cfg, log)

    def run(self) -> None:
        """Serve until told to stop."""
        # While many threads want to go on, this loop waits for its turn behind them, again and again.
        sys.setswitchinterval(_SWITCH_S)
        super().run()
        self._starter.shutdown(wait=False, cancel_futures=True)
        self._express.shutdown(wait=False)

    # ------------------------------------------------------------------ from the listener to a thread

    def accept(self, listener: socket.socket) -> None:
        """Take the next connections, and wait for their requests."""
        # Several at once: who stands behind many others need not wait until all of those are being answered.
        self._accept(listener, _ACCEPTED_AT_ONCE)

    def _accept(self, listener: socket.socket, most: int) -> None:
        for _ in range(most):
            try:
                accepted, client = listener.accept()
            except OSError as error:
                # Whatever it is, it is about one connection; gunicorn would end the process for some of these.
                if error.errno in _NO_FILES_LEFT:
                    self._let_oldest_go()
                    time.sleep(_PAUSE_S)  # or this would be tried again at once, until some file is closed
                return
            self.nr_conns += 1
            self._await_request(Connection(self.cfg, self._readers.outlet(accepted), client, listener.getsockname()))

    def _stop_listening(self) -> None:
        """Take those who are connected already, and have the system refuse all others.

        gunicorn closes its listeners when everything else is over. Whoever connects meanwhile would not be answered,
        and not be refused either, so that no balancer tries another replica.
        """
        self.set_accept_enabled(False)
        for listener in self.sockets:
            self._accept(listener, self.cfg.backlog)
            listener.close()

    def finish_request(self, conn: Connection, future: Future[bool]) -> None:
        """Go on with a connection that a thread is done with."""
        if conn.sock.is_cut_off:
            self._too_slow += 1
            self._close(conn)
        elif not future.cancelled() and future.exception() is None and future.result():
            # Some send the next request before they have the answer.
            self._await_request(conn, conn.parser.unreader.take_buffered())
        else:
            self._hear_out(conn)

    def handle_request(self, req: Request, conn: Connection) -> bool:
        """Answer a request, in a thread."""
        if conn.arrival is not None:
            req._expected_100_continue = False  # noqa: SLF001 - the loop has told the sender so already
            if not conn.arrival.is_whole:
                req.force_close()  # where the next request begins cannot be known
        keeps: bool = super().handle_request(req, conn)
        return keeps

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:  # noqa: FBT001 - gunicorn's signature
        """Tell whether the connection can be used again: gunicorn passes over what is left of the body to find out.

        Should that be malformed, gunicorn answers a second time: to the caller, that is the answer to another request.
        """
        try:
            keeps: bool = super()._keepalive_after(conn, keepalive)
        except (http_errors.ParseException, http_errors.NoMoreData):
            return False
        return keeps

    def _await_request(self, conn: Connection, begun: bytes = b"") -> None:
        conn.arrival = Arrival(max_body_bytes=self.limits.max_body_bytes, larger=self.limits.larger_bodies)
        conn.was_told_to_continue = False
        conn.until_s = self.clock() + (self.cfg.keepalive if self.alive else _STOP_LINGER_S)
        self._wait(conn, self._receive)
        if begun:
            self._take(conn, conn.arrival, begun)

    def _receive(self, conn: Connection, _: object) -> None:
        data = self._received(conn)
        if data is None or conn.arrival is None:
            return
        if data:
            self._take(conn, conn.arrival, data)
        elif conn.arrival.content:
            self._hand_over(conn, conn.arrival)  # nothing more will come; the parser says what is missing
        else:
            self._close(conn)

    def _take(self, conn: Connection, arrival: Arrival, data: bytes) -> None:
        if not arrival.content:
            conn.until_s = self.clock() + self.limits.request_timeout_s
        was_large = arrival.is_large
        arrival.feed(data)
        self._waiting_bytes += len(data)
        if arrival.is_large and not was_large:
            self._large += 1
        if arrival.is_ready:
            self._hand_over(conn, arrival)
        elif arrival.is_oversized:
            self._refuse(conn, InvalidRequest("The header lines are too long."))
        elif arrival.is_large and not was_large and self._large > self.limits.max_large:
            # Or else they would push out what others are sending.
            self._refused += 1
            self._refuse(conn, Overloaded("Too many large requests are arriving.", retry_after_s=_RETRY_WHEN_FULL_S))
        elif arrival.awaits_continue and not conn.was_told_to_continue:
            conn.was_told_to_continue = True
            _send_at_once(conn.sock, _CONTINUE)
        while self._waiting_bytes > self.limits.max_waiting_bytes:
            # Those who have sent nothing would go in vain.
            self._let_go(next(each for each in self._waiting if each.has_sent))

    def _hand_over(self, conn: Connection, arrival: Arrival) -> None:
        self._leave(conn)
        content = bytes(arrival.content)
        arrival.content.clear()
        conn.parser.unreader.collect(content)
        conn.queued_bytes = len(content)
        conn.sock.arrived_s = self.clock()
        # A body could be anything, and reading it takes time.
        is_express = content.startswith(self.limits.express) and not arrival.has_body
        conn.sock.may_wait = not is_express  # or a few who take no answers would hold those few threads
        if is_express and self._express_queue.enter(conn.queued_bytes):
            self._submit(self._express, self._hurry, conn)
        elif self._queue.enter(conn.queued_bytes):
            self._starter.submit(self._start, conn)
        else:
            self._refused += 1
            self._refuse(conn, Overloaded("Too many requests are waiting.", retry_after_s=_RETRY_WHEN_FULL_S))

    def _start(self, conn: Connection) -> None:
        """Give a complete request to a thread; this is done in a thread of its own.

        Hundreds that have something to do have everybody wait for their turn. The loop would then learn of `/health`
        only when all of them are done with the first part of their work. Nobody is waited for long, though: a thread
        may wait for something that it does not tell of.
        """
        turn = self._turns.enter(Deadline.after(math.inf))
        self._submit(self.tpool, partial(self._begin, turn), conn)

    def _begin(self, turn: Pass, conn: Connection) -> bool:
        turns.begin(partial(self._turns.leave, turn))
        try:
            self._queue.leave(conn.queued_bytes)
            keeps: bool = self.handle(conn)
        finally:
            turns.rest()
        return keeps

    def _hurry(self, conn: Connection) -> bool:
        self._express_queue.leave(conn.queued_bytes)
        keeps: bool = self.handle(conn)
        return keeps

    def _submit(self, threads: ThreadPoolExecutor, answer: Callable[[Connection], bool], conn: Connection) -> None:
        future = threads.submit(answer, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    # ------------------------------------------------------------------ connections that wait

    def _wait(self, conn: Connection, on_readable: Callable[[Connection, object], None]) -> None:
        while len(self._waiting) >= self.limits.max_waiting:
            self._let_oldest_go()
        conn.sock.settimeout(0)
        self._waiting[conn] = None
        self.poller.register(conn.sock, EVENT_READ, partial(on_readable, conn))

    def _leave(self, conn: Connection) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)
        if conn.arrival:
            self._waiting_bytes -= len(conn.arrival.content)
            self._large -= conn.arrival.is_large

    def _let_oldest_go(self) -> None:
        if self._waiting:
            self._let_go(next(iter(self._waiting)))

    def _let_go(self, conn: Connection) -> None:
        self._too_many += 1
        self._close(conn)

    def _received(self, conn: Connection) -> bytes | None:
        """Return what has come, nothing when there will be no more, or None when there is nothing to be done."""
        if conn not in self._waiting:
            return None  # it had to go, for another one that became readable at the same time
        try:
            data: bytes = conn.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self._close(conn)
            return None
        return data

    def _close(self, conn: Connection) -> None:
        if conn in self._waiting:
            self._leave(conn)
        self.nr_conns -= 1
        conn.close()

    def _hear_out(self, conn: Connection) -> None:
        """Close an answered connection as RFC 9112 §9.6 wants it.

        Who is in the middle of sending would otherwise get a reset connection instead of the answer. gunicorn does
        the same, but has everybody else wait meanwhile.
        """
        if conn in self._waiting:
            self._leave(conn)
        conn.arrival, conn.heard_bytes = None, 0
        conn.until_s = self.clock() + _HEARD_OUT_S
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the caller has left
            self._close(conn)
            return
        self._wait(conn, self._hear)

    def _hear(self, conn: Connection, _: object) -> None:
        data = self._received(conn)
        if data is None or conn.heard_bytes is None:
            return
        conn.heard_bytes += len(data)
        if not data or conn.heard_bytes > _HEARD_OUT_BYTES:
            self._close(conn)

    def murder_pending(self) -> None:
        """End what has waited too long; gunicorn's loop calls this between any two events."""
        super().murder_pending()
        now_s = self.clock()
        if not self.alive and not self._is_stopping:
            self._is_stopping = True
            self._stop_listening()
            for conn in self._waiting:
                if conn.is_silent:
                    conn.until_s = min(conn.until_s, now_s + _STOP_LINGER_S)
        if now_s - self._swept_at_s < _SWEEP_S:
            return
        self._swept_at_s = now_s
        for conn in [each for each in self._waiting if each.until_s <= now_s]:
            if conn.arrival and conn.arrival.has_request_line:
                self._too_slow += 1
                self._refuse(conn, RequestTimeout())
            else:
                self._close(conn)
        self._report(now_s)

    def _report(self, now_s: float) -> None:
        """Write down that callers were cut off: now and then, because an attack should not fill the log too."""
        if (self._too_slow or self._too_many or self._refused) and now_s - self._reported_at_s >= _REPORT_S:
            _log.warning("cut off callers", too_slow=self._too_slow, too_many=self._too_many, refused=self._refused)
            self._too_slow = self._too_many = self._refused = 0
            self._reported_at_s = now_s

    # ------------------------------------------------------------------ answers without the application

    def handle_error(self, _: Request | None, client: socket.socket, __: object, exc: Exception) -> None:
        """Answer a request that cannot be read, or that the server itself failed at, with a problem."""
        request_id = uuid.uuid4().hex
        error: StudioError
        if isinstance(exc, http_errors.ParseException) and not isinstance(exc, _OUR_FAULTS):
            error = InvalidRequest(next(text for kind, text in _FAULTS if isinstance(exc, kind)))
            _log.info("unreadable request", request_id=request_id, detail=error.detail)
        else:
            error = InternalError()
            _log.error("unforeseen exception", request_id=request_id, exc_info=exc)
        _send_at_once(client, _answer(error, request_id))

    def _refuse(self, conn: Connection, error: StudioError) -> None:
        _send_at_once(conn.sock, _answer(error, uuid.uuid4().hex))
        self._hear_out(conn)


def _send_at_once(sock: socket.socket, content: bytes) -> None:
    """Send as much of it as the kernel takes now, which is all of a short text."""
    with suppress(OSError):  # the caller has left, or has let answers pile up
        sock.send(content, socket.MSG_DONTWAIT)


def _answer(error: StudioError, request_id: str) -> bytes:
    told = problem(error, request_id=request_id, scrub=str)
    content = json.dumps(told, ensure_ascii=False).encode()
    lines = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        f"Date: {formatdate(usegmt=True)}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(content)}",
        f"X-Request-ID: {request_id}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        *([f"Retry-After: {told['retry_after']}"] if "retry_after" in told else []),
    )
    return "\r\n".join((*lines, "", "")).encode() + content
