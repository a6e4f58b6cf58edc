"""Readers who take their time, over real sockets with small buffers; the clock is ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from real.programs import wait_for

from app.serving.readers import STEP_BYTES, Outlet, SlowReaders

BUFFER_BYTES = 16 * 1024
ANSWER = bytes(range(256)) * 16_384
"""More than any kernel takes at once."""

MAX_BYTES = 3 * len(ANSWER)

Pair = tuple[Outlet, socket.socket]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readers(clock: Clock) -> SlowReaders:
    return SlowReaders(limit=2, max_bytes=MAX_BYTES, timeout_s=60, look_s=0.01, clock=clock)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture
def connect(readers: SlowReaders) -> Iterator[Callable[[], Pair]]:
    """Return connections of the two ends each: where answers go in, and where a reader takes them out."""
    opened: list[socket.socket] = []

    def pair() -> Pair:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            reader.settimeout(10)
            reader.connect(listener.getsockname())
            accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        outlet = readers.outlet(accepted)
        opened.extend((outlet, reader))
        return outlet, reader

    yield pair
    for each in opened:
        each.close()


def read(reader: socket.socket, size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < size_bytes:
        content += reader.recv(min(65_536, size_bytes - len(content)))
    return bytes(content)


def test_what_the_kernel_takes_at_once_needs_no_waiting(readers: SlowReaders, connect: Callable[[], Pair]) -> None:
    outlet, reader = connect()

    outlet.sendall(b"short")

    assert read(reader, 5) == b"short"
    assert len(readers) == 0


def test_a_reader_who_takes_it_gets_all_of_it(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor
) -> None:
    outlet, reader = connect()
    sent = pool.submit(outlet.sendall, ANSWER)
    wait_for(lambda: len(readers) == 1)

    assert read(reader, len(ANSWER)) == ANSWER
    sent.result(timeout=10)
    assert len(readers) == 0
    assert not outlet.is_cut_off


def test_who_takes_nothing_is_cut_off(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor, clock: Clock
) -> None:
    outlet, reader = connect()
    sent = pool.submit(outlet.sendall, ANSWER)
    wait_for(lambda: len(readers) == 1)

    clock.now_s += 59.9
    with pytest.raises(TimeoutError):
        sent.result(timeout=0.1)
    clock.now_s += 0.1
    with pytest.raises(BrokenPipeError):
        sent.result(timeout=10)

    assert outlet.is_cut_off
    assert len(readers) == 0
    outlet.close()
    with pytest.raises(ConnectionResetError):
        read(reader, len(ANSWER))


def test_who_may_not_be_waited_for_is_cut_off_at_once(readers: SlowReaders, connect: Callable[[], Pair]) -> None:
    outlet, reader = connect()
    outlet.may_wait = False

    outlet.sendall(b"short")
    assert read(reader, 5) == b"short"
    with pytest.raises(BrokenPipeError):
        outlet.sendall(ANSWER)

    assert outlet.is_cut_off
    assert len(readers) == 0


def test_a_step_in_time_is_enough(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor, clock: Clock
) -> None:
    outlet, reader = connect()
    sent = pool.submit(outlet.sendall, ANSWER)
    wait_for(lambda: len(readers) == 1)
    (wait,) = readers._waits

    left_bytes = len(ANSWER)
    while left_bytes > 8 * STEP_BYTES:
        clock.now_s += 50
        step_bytes = 4 * STEP_BYTES
        read(reader, step_bytes)
        left_bytes -= step_bytes
        wait_for(lambda: wait.since_s == clock.now_s)

    read(reader, left_bytes)
    sent.result(timeout=10)


def test_a_trickle_is_not_enough(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor, clock: Clock
) -> None:
    outlet, reader = connect()
    sent = pool.submit(outlet.sendall, ANSWER)
    wait_for(lambda: len(readers) == 1)

    while not sent.done():
        clock.now_s += 1
        read(reader, 10)
        assert clock.now_s < 1_000 + 600
        threading.Event().wait(0.005)

    with pytest.raises(OSError, match="takes nothing"):
        sent.result()


def test_the_slowest_makes_room_for_one_more(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor, clock: Clock
) -> None:
    sending: list[tuple[Pair, Future[None]]] = []
    for number in range(2):
        pair = connect()
        sending.append((pair, pool.submit(pair[0].sendall, ANSWER)))
        wait_for(lambda number=number: len(readers) == number + 1)  # type: ignore[misc]
        clock.now_s += 5

    newcomer, reader = connect()
    sent = pool.submit(newcomer.sendall, ANSWER)

    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        sending[0][1].result(timeout=10)
    assert sending[0][0][0].is_cut_off
    assert not sending[1][0][0].is_cut_off
    assert read(reader, len(ANSWER)) == ANSWER
    sent.result(timeout=10)
    assert read(sending[1][0][1], len(ANSWER)) == ANSWER
    sending[1][1].result(timeout=10)
    assert len(readers) == 0


def test_the_slowest_makes_room_for_what_one_more_holds(
    pool: ThreadPoolExecutor, connect: Callable[[], Pair], clock: Clock, readers: SlowReaders
) -> None:
    readers._limit = 10
    sending: list[tuple[Pair, Future[None]]] = []
    for number in range(3):
        pair = connect()
        sending.append((pair, pool.submit(pair[0].sendall, ANSWER)))
        wait_for(lambda number=number: len(readers) == number + 1)  # type: ignore[misc]
        clock.now_s += 5
    assert readers._held_bytes == MAX_BYTES, "what was taken already is in memory too"

    newcomer, reader = connect()
    sent = pool.submit(newcomer.sendall, ANSWER + ANSWER)

    for (outlet, _), result in sending[:2]:
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            result.result(timeout=10)
        assert outlet.is_cut_off
    assert len(read(reader, 2 * len(ANSWER))) == 2 * len(ANSWER)
    sent.result(timeout=10)
    assert read(sending[2][0][1], len(ANSWER)) == ANSWER
    sending[2][1].result(timeout=10)
    assert (len(readers), readers._held_bytes) == (0, 0)


def test_a_single_answer_may_be_larger_than_the_bound(
    pool: ThreadPoolExecutor, connect: Callable[[], Pair], readers: SlowReaders
) -> None:
    outlet, reader = connect()
    large = ANSWER * 4
    assert len(large) > MAX_BYTES
    sent = pool.submit(outlet.sendall, large)
    wait_for(lambda: len(readers) == 1)

    assert len(read(reader, len(large))) == len(large)
    sent.result(timeout=10)
    assert readers._held_bytes == 0


def test_a_reader_who_leaves_is_an_error_of_the_system(
    readers: SlowReaders, connect: Callable[[], Pair], pool: ThreadPoolExecutor
) -> None:
    outlet, reader = connect()
    sent = pool.submit(outlet.sendall, ANSWER)
    wait_for(lambda: len(readers) == 1)

    reader.close()

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        sent.result(timeout=10)
    assert len(readers) == 0
    outlet.cut_off()
