"""Encrypted connections obey the same limits, and a certificate that nobody vouches for is refused."""

from __future__ import annotations

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
from app.errors import UpstreamTimeout, UpstreamUnavailable
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
        conversation = new_transport().converse(url, {})
        conversation._session.verify = str(bundle)
        return conversation

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
