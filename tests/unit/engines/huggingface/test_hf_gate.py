"""Large answers pass a gate: few are in memory at a time, and slow ones hold up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from fakes import FakeClock, tone
from unit.engines.huggingface.hf_wire import (
    BRIEF,
    Exchange,
    Handler,
    Server,
    event_stream,
    new_transport,
    serve,
    status,
)

from app.engines.huggingface import HuggingFace
from app.engines.huggingface.transport import ANSWERS_AT_ONCE, LARGE_FROM_BYTES, Conversation
from app.errors import Cancelled, EngineError, Overloaded, UpstreamBadResponse
from app.gate import Gate
from app.retry import Deadline
from app.settings import Settings

LARGE: Final = b"x" * LARGE_FROM_BYTES
LARGE_TONE: Final = tone(5.0)


# ---------------------------------------------------------------------- the gate itself


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def gate(clock: FakeClock) -> Gate:
    return Gate(2, longest_stay_s=10, clock=clock)


def at_once() -> Deadline:
    """Return a deadline that real clocks reach in a moment."""
    return Deadline.after(0.05)


def test_a_few_go_in_and_the_next_one_waits_in_vain(gate: Gate) -> None:
    gate.enter(at_once())
    gate.enter(at_once())
    with pytest.raises(TimeoutError):
        gate.enter(at_once())


def test_who_leaves_makes_room_for_one(gate: Gate) -> None:
    first, _ = gate.enter(at_once()), gate.enter(at_once())
    gate.leave(first)
    gate.leave(first)

    gate.enter(at_once())
    with pytest.raises(TimeoutError):
        gate.enter(at_once())


def test_who_leaves_wakes_who_waits(gate: Gate) -> None:
    first, _ = gate.enter(at_once()), gate.enter(at_once())
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gate.enter, Deadline.after(5))
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        gate.leave(first)
        waiting.result(2)


def test_who_stays_too_long_loses_the_place(gate: Gate, clock: FakeClock) -> None:
    first, _ = gate.enter(at_once()), gate.enter(at_once())
    clock.now_s += 10
    others = [gate.enter(at_once()), gate.enter(at_once())]
    gate.leave(first)

    with pytest.raises(TimeoutError):
        gate.enter(at_once())
    gate.leave(others[0])
    gate.enter(at_once())


def test_who_waits_goes_in_when_another_one_has_stayed_too_long() -> None:
    gate = Gate(1, longest_stay_s=0.1)
    gate.enter(at_once())

    gate.enter(Deadline.after(5))


def test_who_waits_can_be_cancelled(gate: Gate) -> None:
    gate.enter(at_once())
    gate.enter(at_once())
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(TimeoutError):
        gate.enter(Deadline.after(60, cancelled=cancelled))


def test_never_more_than_a_few_are_inside() -> None:
    gate, lock = Gate(4, longest_stay_s=1_000), threading.Lock()
    inside, most = 0, 0

    def pass_through(_: int) -> None:
        nonlocal inside, most
        one = gate.enter(Deadline.after(10))
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.0001)  # the others get their turn
        with lock:
            inside -= 1
        gate.leave(one)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(pass_through, range(500)))

    assert most <= 4


# ---------------------------------------------------------------------- at the wire


class FullGate(Gate):
    """A gate in which all places are taken for as long as the test goes on."""

    def __init__(self) -> None:
        super().__init__(ANSWERS_AT_ONCE, longest_stay_s=1_000)
        self.taken = [self.enter(at_once()) for _ in range(ANSWERS_AT_ONCE)]


@pytest.fixture
def conversation_with() -> Iterator[Callable[[Handler], tuple[Conversation, FullGate, str]]]:
    """Return how to begin a conversation with a server that handles so, at a full gate."""
    servers: list[Server] = []

    def begin(handle: Handler) -> tuple[Conversation, FullGate, str]:
        servers.append(Server(handle))
        transport = new_transport()
        transport.gate = FullGate()
        return transport.converse(servers[-1].url, {}), transport.gate, servers[-1].url

    yield begin
    for server in servers:
        server.close()


def chunked(exchange: Exchange) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    exchange.send(head + b"".join(b"400\r\n%s\r\n" % LARGE[:1024] for _ in range(64)) + b"0\r\n\r\n")


Begin = Callable[[Handler], tuple[Conversation, FullGate, str]]


@pytest.mark.parametrize("handle", [status(200, LARGE), chunked], ids=["of known length", "chunked"])
def test_a_large_answer_waits_for_a_place(conversation_with: Begin, handle: Handler) -> None:
    conversation, gate, url = conversation_with(handle)
    with pytest.raises(Overloaded):
        conversation.get(url, deadline=Deadline.after(0.1))

    gate.leave(gate.taken[0])

    assert conversation.get(url, deadline=Deadline.after(5)).body == LARGE


def test_a_large_event_waits_for_a_place(conversation_with: Begin) -> None:
    conversation, gate, url = conversation_with(event_stream(b"data: " + 2 * LARGE + b"\n\n"))

    def first_event() -> bytes:
        with conversation.open("GET", url, deadline=Deadline.after(0.2)) as incoming:
            return next(incoming.events()).data

    with pytest.raises(Overloaded):
        first_event()
    gate.leave(gate.taken[0])
    assert first_event() == 2 * LARGE


def test_a_small_answer_has_a_place_while_it_is_read(conversation_with: Begin) -> None:
    conversation, gate, url = conversation_with(status(200, LARGE[:-1]))
    with pytest.raises(Overloaded):
        conversation.get(url, deadline=Deadline.after(0.2))

    gate.leave(gate.taken[0])
    for _ in range(2):
        assert conversation.get(url, deadline=Deadline.after(5)).body == LARGE[:-1]
    gate.enter(at_once())


def test_a_stream_has_a_place_while_its_headers_are_read(conversation_with: Begin) -> None:
    conversation, gate, url = conversation_with(event_stream(b"data: small\n\n"))
    gate.leave(gate.taken[0])

    with conversation.open("GET", url, deadline=Deadline.after(5)) as incoming:
        assert next(incoming.events()).data == b"small"
        gate.enter(at_once())


def test_who_waits_for_a_place_at_the_wire_can_be_cancelled(conversation_with: Begin) -> None:
    conversation, _, url = conversation_with(status(200, LARGE))
    event = threading.Event()
    threading.Timer(0.05, event.set).start()
    with pytest.raises(Cancelled):
        conversation.get(url, deadline=Deadline.after(60, cancelled=event))


def test_a_conversation_has_one_place_and_gives_it_back(conversation_with: Begin) -> None:
    conversation, gate, url = conversation_with(status(200, LARGE))
    gate.leave(gate.taken[0])

    for _ in range(2):
        conversation.get(url, deadline=Deadline.after(5))
    with pytest.raises(TimeoutError):
        gate.enter(at_once())
    conversation.leave_gate()
    gate.enter(at_once())


# ---------------------------------------------------------------------- an engine's answers


def engine_for(server: Server) -> HuggingFace:
    return HuggingFace(Settings.model_validate({"hf_api_url": f"{server.url}/x", "hf_inputs": '{"inputs": "x"}'}))


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        (status(200, LARGE), UpstreamBadResponse),
        (status(500, LARGE), EngineError),
        (status(200, b"RIFF\0\0\0\0WAVE" + LARGE), UpstreamBadResponse),
    ],
)
def test_failures_leave_no_place_taken(handle: Handler, error: type[EngineError]) -> None:
    with serve(handle) as server:
        engine = engine_for(server)
        engine._transport.gate = Gate(1, longest_stay_s=1_000)
        for _ in range(2):
            with pytest.raises(error):
                engine.generate(BRIEF, deadline=Deadline.after(5))


def test_the_place_is_kept_until_the_audio_is_let_go() -> None:
    with serve(status(200, LARGE_TONE.content)) as server:
        engine = engine_for(server)
        engine._transport.gate = gate = Gate(1, longest_stay_s=1_000)

        take = engine.generate(BRIEF, deadline=Deadline.after(5))

        assert take.file == LARGE_TONE
        with pytest.raises(TimeoutError):
            gate.enter(at_once())
        take.let_go()
        gate.enter(at_once())
