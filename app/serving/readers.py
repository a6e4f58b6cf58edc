"""Readers: how long, and how many of, those who do not take their answers may keep a thread busy.

An answer that the kernel takes at once costs nothing here. Behind any other a thread waits, and it does so
only within limits: each reader must take a little from time to time, and only so many, who hold only so much memory,
may be waited for.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final

from app import turns

Clock = Callable[[], float]

STEP_BYTES: Final = 64 * 1024
"""What a reader must take within the time limit, again and again."""

_UNSENT_BYTES: Final = 128 * 1024
"""What the kernel takes of an answer beyond what is on its way. It would take some megabytes: memory that is charged
to this service, for each of those who read nothing. Answers to fast readers are no slower for it."""

_FILE_PIECE_BYTES: Final = 512 * 1024
"""Small pieces are many turns for a thread, and hundreds of threads that take turns keep all others waiting."""


@dataclass(eq=False, slots=True)
class _Wait:
    outlet: Outlet
    since_s: float
    """When this reader last had taken a whole step, as the clock counts."""
    held_bytes: int
    """What stays in memory until the last of it is taken."""


class SlowReaders:
    """The threads of this process that wait for somebody to read.

    Args:
        limit: How many may wait at the same time. For each one more, the reader who has gone longest without
            taking a step is cut off.
        max_bytes: What all their answers together may hold in memory. For what is more, the same go; a single answer
            may be larger.
        timeout_s: How long a step may take.
        look_s: After how long a thread that waits looks at the clock. The kernel keeps this time: a thread that
            waited in Python would wake up for every few bytes.
        clock: Seconds that only go forwards.
    """

    def __init__(
        self,
        *,
        limit: int,
        max_bytes: int,
        timeout_s: float,
        look_s: float = 1.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.look_s = look_s
        self._limit = limit
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._waits: set[_Wait] = set()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._waits)

    def outlet(self, accepted: socket.socket) -> Outlet:
        """Return this connection as one whose reader is subject to the limits; `accepted` is used up."""
        return Outlet(accepted, self)

    def send(self, outlet: Outlet, content: memoryview, *, held_bytes: int) -> None:
        """Send all of it, and wait for the reader meanwhile.

        Args:
            outlet: Where to.
            content: What the kernel has not taken yet.
            held_bytes: What is in memory because of it: all that it is the end of.

        Raises:
            BrokenPipeError: the reader was too slow, and is cut off.
            OSError: the reader has left.
        """
        turns.rest()
        wait = self._begin(outlet, held_bytes)
        try:
            taken_bytes = 0
            while content:
                try:
                    sent_bytes = outlet.send(content)
                except BlockingIOError:  # nothing was taken before it was time to look at the clock
                    sent_bytes = 0
                content = content[sent_bytes:]
                taken_bytes += sent_bytes
                now_s = self._clock()
                if taken_bytes >= STEP_BYTES:
                    wait.since_s, taken_bytes = now_s, 0
                elif content and now_s - wait.since_s >= self._timeout_s:
                    outlet.cut_off()
                    raise BrokenPipeError(errno.EPIPE, "the reader takes nothing")
        finally:
            with self._lock:
                self._end(wait)

    def _begin(self, outlet: Outlet, held_bytes: int) -> _Wait:
        with self._lock:
            while self._waits and (len(self._waits) >= self._limit or self._held_bytes + held_bytes > self._max_bytes):
                slowest = min(self._waits, key=lambda each: each.since_s)
                self._end(slowest)
                # Its thread finds a broken pipe. The lock is held: until that thread has it, the socket stays open.
                slowest.outlet.cut_off()
            wait = _Wait(outlet, self._clock(), held_bytes)
            self._waits.add(wait)
            self._held_bytes += held_bytes
        return wait

    def _end(self, wait: _Wait) -> None:
        if wait in self._waits:
            self._waits.remove(wait)
            self._held_bytes -= wait.held_bytes


class Outlet(socket.socket):
    """A caller's connection, whose `sendall` waits no longer than `SlowReaders` allow.

    Attributes:
        may_wait: Whether a thread may wait for this reader at all. Whoever is not waited for is cut off instead.
        is_cut_off: Whether the reader was too slow; nothing can be sent any more.
        arrived_s: When the request was complete that is being answered, in monotonic time; None before that.
            gunicorn gives the application this connection as `gunicorn.socket`, and the application can see from it
            how long the request has waited for a thread.
    """

    def __init__(self, accepted: socket.socket, readers: SlowReaders) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.may_wait = True
        self.is_cut_off = False
        self.arrived_s: float | None = None
        self._readers = readers
        seconds = int(readers.look_s)
        look = struct.pack("@ll", seconds, int(1e6 * (readers.look_s - seconds)))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, look)
        if self.family in (socket.AF_INET, socket.AF_INET6):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    def sendall(self, data: bytes | memoryview, flags: int = 0) -> None:  # type: ignore[override]
        """Send all of it.

        Raises:
            BrokenPipeError: the reader was too slow, and is cut off.
            OSError: the reader has left.
        """
        content = memoryview(data)
        try:
            sent_bytes = self.send(content, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent_bytes = 0
        if sent_bytes == len(content):
            return
        if not self.may_wait:
            self.cut_off()
            raise BrokenPipeError(errno.EPIPE, "the reader takes nothing")
        self._readers.send(self, content[sent_bytes:], held_bytes=len(content))

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """Send this part of a file and return its length; raises what `sendall` does."""
        sent_bytes = 0
        while count is None or sent_bytes < count:
            size_bytes = _FILE_PIECE_BYTES if count is None else min(_FILE_PIECE_BYTES, count - sent_bytes)
            piece = os.pread(file.fileno(), size_bytes, offset + sent_bytes)
            if not piece:
                break
            self.sendall(piece)
            sent_bytes += len(piece)
        return sent_bytes

    def cut_off(self) -> None:
        """End the connection, whatever is still under way; a thread that is sending finds a broken pipe."""
        self.is_cut_off = True
        with suppress(OSError):  # the reader has left
            # What the kernel holds for this reader goes with the connection; it would keep it for minutes.
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
            self.shutdown(socket.SHUT_RDWR)
