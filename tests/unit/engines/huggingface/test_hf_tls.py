"""Encrypted connections obey the same limits, and a certificate that nobody vouches for is refused."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from unit.engines.huggingface.hf_wire import new_transport

from app.engines.huggingface.transport import Conversation
from app.errors import Cancelled, EngineError, UpstreamTimeout, UpstreamUnavailable
from app.retry import Deadline

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
Speak = Callable[[ssl.SSLSocket], None]


def speak_at_once(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + b"in time!")


def speak_byte_by_byte(connection: ssl.SSLSocket) -> None:
    for at in range(len(HEAD)):
        connection.sendall(HEAD[at : at + 1])
        time.sleep(0.05)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[[Speak], str]]:
    """Start a server that answers one request in its own way; returns its URL."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def start(speak: Speak) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(5)

        def answer() -> None:
            try:
                with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65_536)
                    speak(connection)
            except OSError:
                return  # the client left, as the tests want it to

        listeners.append(listener)
        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(5)
    for listener in listeners:
        listener.close()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> Callable[[str], Conversation]:
    """Return how to begin a conversation that knows the servers' authority."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)

    def begin(url: str) -> Conversation:
        return new_transport(authorities=str(bundle)).converse(url, {})

    return begin


def test_an_encrypted_answer_arrives(serve: Callable[[Speak], str], trusting: Callable[[str], Conversation]) -> None:
    url = serve(speak_at_once)
    assert trusting(url).get(url, deadline=Deadline.after(5)).body == b"in time!"


def test_the_deadline_holds_under_tls_too(
    serve: Callable[[Speak], str], trusting: Callable[[str], Conversation]
) -> None:
    url = serve(speak_byte_by_byte)
    started_s = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        trusting(url).get(url, deadline=Deadline.after(0.4))
    assert time.monotonic() - started_s < 1.0


def test_an_unknown_authority_is_refused_and_not_tried_again(serve: Callable[[Speak], str]) -> None:
    url = serve(speak_at_once)
    with pytest.raises(UpstreamUnavailable, match="certificate") as failure:
        new_transport().converse(url, {}).get(url, deadline=Deadline.after(5))
    assert not failure.value.repeat


# ---------------------------------------------------------------------- below TLS


@pytest.fixture
def serve_raw() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a server that speaks to one client below TLS, until that leaves; returns its URL."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(speak: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(5)

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.settimeout(5)
                speak(connection)
                while connection.recv(65_536):
                    pass

        listeners.append(listener)
        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(5)
    for listener in listeners:
        listener.close()


def cancelled_in(seconds: float) -> Deadline:
    event = threading.Event()
    threading.Timer(seconds, event.set).start()
    return Deadline.after(30, cancelled=event)


def say_nothing(connection: socket.socket) -> None:
    pass


def drip_a_record(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x03\x40\x00")
    for _ in range(100):
        connection.sendall(b"\x02")
        time.sleep(0.05)


@pytest.mark.parametrize("speak", [say_nothing, drip_a_record])
def test_a_handshake_without_end_is_given_up_in_time(
    serve_raw: Callable[[Callable[[socket.socket], None]], str], speak: Callable[[socket.socket], None]
) -> None:
    url = serve_raw(speak)
    started_s = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        new_transport().converse(url, {}).get(url, deadline=Deadline.after(0.4))
    assert time.monotonic() - started_s < 0.8


def test_a_handshake_takes_no_longer_than_a_connection_may(
    serve_raw: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    url = serve_raw(drip_a_record)
    started_s = time.monotonic()
    with pytest.raises(EngineError) as failure:
        new_transport(connect_timeout_s=0.3, silence_timeout_s=60).converse(url, {}).get(
            url, deadline=Deadline.after(60)
        )
    assert failure.value.repeat
    assert time.monotonic() - started_s < 0.8


def test_a_handshake_can_be_cancelled(serve_raw: Callable[[Callable[[socket.socket], None]], str]) -> None:
    url = serve_raw(say_nothing)
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        new_transport().converse(url, {}).get(url, deadline=cancelled_in(0.1))
    assert time.monotonic() - started_s < 0.6


@pytest.mark.parametrize("kept_bytes", [1, 20], ids=["part of the next record", "all but the end of it"])
def test_a_wait_within_an_encrypted_record_can_be_cancelled(
    authority: trustme.CA,
    trusting: Callable[[str], Conversation],
    serve_raw: Callable[[Callable[[socket.socket], None]], str],
    kept_bytes: int,
) -> None:
    """Such a socket can be read from, and yet nothing comes of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def speak(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        for step in (tls.do_handshake, lambda: tls.read(65_536)):
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65_536))
        tls.write(HEAD)
        connection.sendall(outgoing.read())
        tls.write(b"in time!")
        record = outgoing.read()
        connection.sendall(record[:kept_bytes])

    url = serve_raw(speak)
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        trusting(url).get(url, deadline=cancelled_in(0.3))
    assert time.monotonic() - started_s < 0.8


def test_a_large_encrypted_answer_arrives_whole_although_it_could_be_cancelled(
    serve: Callable[[Speak], str], trusting: Callable[[str], Conversation]
) -> None:
    body = bytes(range(256)) * 2_000

    def speak(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body[:300_001])
        time.sleep(0.3)
        connection.sendall(body[300_001:])

    url = serve(speak)
    assert trusting(url).get(url, deadline=Deadline.after(10, cancelled=threading.Event())).body == body
