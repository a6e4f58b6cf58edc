"""Diagnoses over the wire: large logs, many at a time, and runs that outlive the process."""

from __future__ import annotations

import json
import socket
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from real.programs import JSON, Server

from app.failures.text import MAX_TEXT_CHARS
from app.web.body import MAX_TEXT_BODY_BYTES

pytestmark = pytest.mark.real

ANALYZE: Final = "/api/analyze-failure"
RUN: Final = "/api/training/local/run-1"
REST: Final = b'{"prompt":"rain"}'
BEGUN: Final = (
    b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REST)
)
FULL: Final = "No space left on device"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Start servers that share one folder, one after the other."""
    servers: list[Server] = []

    def start() -> Server:
        environment = {"TEST_ENGINE_TAKES_S": "0", "STUDIO_DATA_DIR": str(tmp_path / "data")}
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, "slow_service:app", (), environment))
        servers[-1].wait_until_up()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def kind(server: Server, body: bytes | Iterator[bytes]) -> str:
    answer = server.request("POST", ANALYZE, body=body)
    assert answer.status == 200, answer.content
    return str(answer.json["error_type"])


def in_chunks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + 50_000] for start in range(0, len(content), 50_000))


def resident_mb(server: Server) -> float:
    """Return what the server and its child take, their peak in MB."""
    family = [server.pid, *map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split())]
    lines = [line for pid in family for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def test_a_large_log_arrives_whole(serve: Callable[[], Server]) -> None:
    server = serve()
    largest = json.dumps({"error": f"{FULL}\n" + "\x1b" * MAX_TEXT_CHARS}).encode()
    million = json.dumps({"error": "$(id) `id` 'x' \"y\" 🎵\n" * 30_000 + FULL}).encode()

    assert len(largest) > 1_500_000 < MAX_TEXT_BODY_BYTES
    for content in (largest, million):
        assert kind(server, content) == "disk_full"
        assert kind(server, in_chunks(content)) == "disk_full"


def test_what_is_larger_is_refused(serve: Callable[[], Server]) -> None:
    server = serve()
    content = json.dumps({"error": "x" * MAX_TEXT_BODY_BYTES}).encode()

    for path, method in ((ANALYZE, "POST"), (RUN, "PUT")):
        for body in (content, in_chunks(content)):
            answer = server.request(method, path, body=body)
            assert (answer.status, answer.json["code"]) == (413, "payload-too-large")
            assert answer.elapsed_s < 5


def test_many_large_logs_at_a_time_are_answered_within_bounds(serve: Callable[[], Server]) -> None:
    """Each takes some 20 MB while it is read, so that only a few are read at a time."""
    server = serve()
    content = json.dumps({"error": "🎵 error\n" * 150_000 + FULL}).encode()[:MAX_TEXT_BODY_BYTES]
    assert kind(server, json.dumps({"error": FULL}).encode()) == "disk_full"
    before_mb = resident_mb(server)

    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as other, ThreadPoolExecutor(24) as pool:
        other.sendall(BEGUN)
        answers = [pool.submit(server.request, "POST", ANALYZE, body=content) for _ in range(24)]
        health_s = [server.request("GET", "/health").elapsed_s for _ in range(20)]
        statuses = {each.result().status for each in answers}
        other.sendall(REST)
        accepted = other.recv(65_536)

    assert accepted.startswith(b"HTTP/1.1 202 ")  # whoever was sending before them was not pushed out
    assert statuses <= {200, 400, 503}
    assert statistics.median(health_s) < 0.5
    assert resident_mb(server) - before_mb < 100


def test_a_training_run_outlives_the_process(serve: Callable[[], Server]) -> None:
    first = serve()
    body = json.dumps({"status": "failed", "error": "x\n" * 100_000 + FULL}).encode()
    assert first.request("PUT", RUN, body=body).status == 201
    first.kill()

    answer = serve().request("GET", f"{RUN}/analyze-failure", headers=JSON)

    assert (answer.status, answer.json["job_id"], answer.json["error_type"]) == (200, "run-1", "disk_full")
