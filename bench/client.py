"""The load: one thread that keeps a number of connections busy and times each answer to its last byte.

`python -m bench.client` reads a `Load` as JSON from standard input and writes a `Result` as JSON
to standard output. It is a process of its own, so that nothing else competes for its interpreter,
and it throws away what it reads: what it costs itself shows in the figures of the upstream that
is called directly.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

_READ_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask, and how often.

    Attributes:
        port: On 127.0.0.1.
        head: Request line and headers, with an empty line at the end; the body follows as it is.
        body: Of each request.
        clients: Connections, each of which has one request under way at a time.
        requests: How many are timed, by all clients together.
        warm_up: How many go before them, untimed.
        limit_s: When to give up what has not been answered.
    """

    port: int
    head: str
    body: str
    clients: int
    requests: int
    warm_up: int
    limit_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        times_s: From the request to the last byte of its answer, for each answer with status 200.
        elapsed_s: From the first timed request to the last answer.
        failures: Answers with another status and broken connections, by what they were.
        answer_bytes: The lengths of good answers; more than one is suspicious. None is a length that is not told.
    """

    times_s: list[float]
    elapsed_s: float
    failures: dict[str, int] = field(default_factory=dict)
    answer_bytes: list[int | None] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.times_s) / self.elapsed_s


def load(asked: Load) -> Result:
    """Run the load in a process of its own.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input=json.dumps(asdict(asked)),
        capture_output=True,
        text=True,
        check=False,
        timeout=asked.limit_s + 60,
    )
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr}")
    return Result(**json.loads(done.stdout))


class _Caller:
    """One connection, and the request that is under way on it."""

    __slots__ = ("chunked_tail", "closes", "head", "left", "sent_at_s", "sock", "status", "total_bytes", "unsent")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.unsent = b""
        self.clear()

    def clear(self) -> None:
        self.head = b""
        self.left: int | None = None
        self.total_bytes: int | None = None
        self.chunked_tail: bytes | None = None
        self.status = ""
        self.closes = False
        self.sent_at_s = 0.0


class _Loop:
    def __init__(self, asked: Load) -> None:
        self._asked = asked
        self._request = (asked.head + asked.body).encode()
        self._epoll = select.epoll()
        self._callers: dict[int, _Caller] = {}
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._to_send = 0
        self._waiting_for = 0
        self._times_s: list[float] = []
        self._failures: dict[str, int] = {}
        self._answer_bytes: set[int | None] = set()

    def run(self) -> Result:
        idle = [_Caller() for _ in range(self._asked.clients)]
        if self._asked.warm_up:
            self._phase(idle, self._asked.warm_up)
        self._times_s, self._failures, self._answer_bytes = [], {}, set()
        started_s = time.perf_counter()
        self._phase(idle, self._asked.requests)
        elapsed_s = time.perf_counter() - started_s
        return Result(self._times_s, elapsed_s, self._failures, list(self._answer_bytes))

    def _phase(self, callers: list[_Caller], requests: int) -> None:
        """Send so many requests, and return when all are answered or failed."""
        self._to_send = self._waiting_for = requests
        for caller in callers[:requests]:
            self._send_next(caller)
        give_up_at_s = time.perf_counter() + self._asked.limit_s
        while self._waiting_for:
            if time.perf_counter() > give_up_at_s:
                self._failures["no answer in time"] = self._waiting_for
                return
            for number, _ in self._epoll.poll(1.0):
                if number not in self._callers:
                    continue
                caller = self._callers[number]
                try:
                    if caller.unsent:
                        self._push(caller)
                    elif self._read(caller):
                        self._finish(caller)
                except OSError as error:
                    self._fail(caller, type(error).__name__)

    def _send_next(self, caller: _Caller) -> None:
        if not self._to_send:
            return
        self._to_send -= 1
        caller.clear()
        caller.unsent = self._request
        caller.sent_at_s = time.perf_counter()
        if caller.sock is None:
            caller.sock = socket.socket()
            caller.sock.settimeout(0)
            caller.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._callers[caller.sock.fileno()] = caller
            self._epoll.register(caller.sock, select.EPOLLOUT)
            with suppress(BlockingIOError):
                caller.sock.connect(("127.0.0.1", self._asked.port))
            return
        try:
            self._push(caller, is_registered_for_reading=True)
        except OSError as error:
            self._fail(caller, type(error).__name__)

    def _push(self, caller: _Caller, *, is_registered_for_reading: bool = False) -> None:
        sock = caller.sock
        assert sock is not None
        # The requests are small: what does not fit into a socket's buffer at once is a broken connection.
        if sock.send(caller.unsent) != len(caller.unsent):
            raise OSError("the request was sent in part only")
        caller.unsent = b""
        if not is_registered_for_reading:
            self._epoll.modify(sock, select.EPOLLIN)

    def _read(self, caller: _Caller) -> bool:
        """Read what has come, and return whether the answer is complete."""
        sock = caller.sock
        assert sock is not None
        with suppress(BlockingIOError):
            while True:
                if caller.left is None and caller.chunked_tail is None:
                    chunk = sock.recv(65_536)
                    if not chunk:
                        raise ConnectionError("closed before the answer")
                    caller.head += chunk
                    self._parse(caller)
                else:
                    count = sock.recv_into(self._buffer)
                    if not count:
                        raise ConnectionError("closed within the answer")
                    if caller.left is not None:
                        caller.left -= count
                    else:
                        tail = bytes(self._buffer[max(count - 5, 0) : count])
                        caller.chunked_tail = ((caller.chunked_tail or b"") + tail)[-5:]
                if caller.left == 0 or caller.chunked_tail == b"0\r\n\r\n":
                    return True
        return False

    def _parse(self, caller: _Caller) -> None:
        head, end, rest = caller.head.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        caller.status = head[9:12].decode()
        caller.closes = b"\r\nconnection: close" in lower
        at = lower.find(b"\r\ncontent-length:")
        if at >= 0:
            caller.total_bytes = int(lower[at + 17 :].split(b"\r\n", 1)[0])
            caller.left = caller.total_bytes - len(rest)
        else:
            caller.chunked_tail = rest[-5:]

    def _finish(self, caller: _Caller) -> None:
        if caller.status == "200":
            self._times_s.append(time.perf_counter() - caller.sent_at_s)
            self._answer_bytes.add(caller.total_bytes)
        else:
            self._failures[caller.status] = self._failures.get(caller.status, 0) + 1
        self._waiting_for -= 1
        if caller.closes:
            self._hang_up(caller)
        self._send_next(caller)

    def _fail(self, caller: _Caller, what: str) -> None:
        self._failures[what] = self._failures.get(what, 0) + 1
        self._waiting_for -= 1
        self._hang_up(caller)
        self._send_next(caller)

    def _hang_up(self, caller: _Caller) -> None:
        sock, caller.sock = caller.sock, None
        if sock is not None:
            self._callers.pop(sock.fileno(), None)
            sock.close()


def head(method: str, path: str, headers: Mapping[str, str], *, body: str) -> str:
    """Return request line and headers of a request with this body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])


if __name__ == "__main__":
    print(json.dumps(asdict(_Loop(Load(**json.load(sys.stdin))).run())))
