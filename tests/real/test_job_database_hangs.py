"""A job database that hangs: what needs it is told so, and what does not goes on as if nothing were.

The service's threads are what could run out: each request that waits for the database has one.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from real.programs import Server

from app.jobs.database import LOCK_TIMEOUT_S, SQLITE_FILE

pytestmark = pytest.mark.real

CALLERS = 400
"""At the same time, and more than the service has threads for its default settings."""

PROMPT_S = 4.0
"""What a clip may take meanwhile on a busy machine; it would have to wait for a timeout of 5 s or more otherwise."""

BODY = b'{"prompt":"rain"}'
RUN = b'{"status":"running"}'
SUBMIT = b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
REPORT = (
    b"PUT /api/training/local/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (
        len(RUN),
        RUN,
    )
)
ASK = b"GET /api/status/%032x HTTP/1.1\r\nHost: x\r\n\r\n"

StartServer = Callable[..., Server]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    with ExitStack() as running:

        def start(**settings: str) -> Server:
            environment = {"TEST_ENGINE_TAKES_S": "0", "STUDIO_EXECUTOR": "none", "STUDIO_DATA_DIR": str(tmp_path)}
            server = Server(tmp_path, "slow_service:app", (), environment | settings)
            running.callback(server.kill)
            server.wait_until_up()
            assert server.generate().status == 200
            return server

        yield start


@contextmanager
def callers(server: Server, requests: Iterator[bytes]) -> Iterator[list[socket.socket]]:
    """Send each request on a connection of its own, which stays open for as long as the block lasts."""
    with ExitStack() as opened:
        connections = []
        for request in requests:
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(request)
            connections.append(connection)
        yield connections


def check_that_clips_work(server: Server) -> None:
    """Raise `AssertionError` unless clips come soon, and `/health` answers."""
    for _ in range(3):
        clip = server.generate()
        assert clip.status == 200
        assert clip.elapsed_s < PROMPT_S
    assert server.request("GET", "/health").elapsed_s < PROMPT_S


def test_clips_without_a_job_still_work(start_server: StartServer) -> None:
    """What docs/operations.md says of StudioJobDatabaseAway, with a Postgres that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=4_000) as silent:
        server = start_server(STUDIO_DATABASE_URL=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x")

        with callers(server, (ASK % number for number in range(CALLERS))) as connections:
            check_that_clips_work(server)
            told = [connection.recv(65_536) for connection in connections]
        ready = server.request("GET", "/ready")

    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in told)
    assert all(b"\r\nRetry-After: 5\r\n" in answer for answer in told)
    assert ready.status == 503


@pytest.mark.parametrize("request_", [SUBMIT, REPORT], ids=["jobs", "training"])
def test_a_database_that_is_locked_holds_no_clips_up(
    start_server: StartServer, tmp_path: Path, request_: bytes
) -> None:
    """The database hangs after it was opened, so that no failure to open it is known."""
    server = start_server()
    assert server.request("POST", "/api/jobs", body=BODY).status == 202

    with closing(sqlite3.connect(tmp_path / SQLITE_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with callers(server, (request_ for _ in range(CALLERS))) as connections:
            check_that_clips_work(server)
            refused = connections[-1].recv(65_536)
        other.execute("ROLLBACK")

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Too many requests wait for the job database." in refused
    assert server.request("POST", "/api/jobs", body=BODY).elapsed_s < LOCK_TIMEOUT_S
