"""Real gunicorn, as in production: `gunicorn wsgi:app` in the project's folder, and nothing mocked but the engine."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from real.programs import JSON, ROOT, START_LIMIT_S, Answer, Server

from app import audio
from app.web.body import MAX_BODY_BYTES

pytestmark = pytest.mark.real

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers: options of gunicorn, the seconds the engine takes, and settings by name."""
    servers: list[Server] = []

    def start(*options: str, takes_s: float | None = 0.0, **environment: str) -> Server:
        app = "wsgi:app" if takes_s is None else "slow_service:app"
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        server = Server(folder, app, options, {"TEST_ENGINE_TAKES_S": str(takes_s), **environment})
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that answers at once and is shared by the tests that leave it as it is."""
    shared = Server(tmp_path_factory.mktemp("shared"), "slow_service:app", (), {"TEST_ENGINE_TAKES_S": "0"})
    try:
        shared.wait_until_up()
        yield shared
    finally:
        shared.kill()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=64) as executor:
        yield executor


def busy(server: Server, pool: ThreadPoolExecutor, count: int) -> list[Future[Answer]]:
    """Start generations and return when all of them have left the client."""
    barrier = threading.Barrier(count + 1)

    def generate() -> Answer:
        barrier.wait(timeout=10)
        return server.generate()

    running = [pool.submit(generate) for _ in range(count)]
    barrier.wait(timeout=10)
    time.sleep(0.5)
    return running


def test_a_piece_of_the_composer_comes_over_the_wire(serve: Serve) -> None:
    server = serve(takes_s=None, STUDIO_ENGINE="composer")
    server.wait_until_up()

    answer = server.generate(duration=5, seed=7)

    assert answer.status == 200, answer.content
    assert answer.headers["Content-Type"] == "audio/wav"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert audio.prove(answer.content).duration_s == pytest.approx(5, abs=1)
    assert answer.headers["Studio-Seed"] == "7"


def test_health_answers_while_every_place_is_taken(serve: Serve, pool: ThreadPoolExecutor) -> None:
    places = 16
    server = serve(takes_s=4.0, STUDIO_MAX_ACTIVE=str(places))
    server.wait_until_up()
    running = busy(server, pool, places)

    health_s = [server.request("GET", "/health").elapsed_s for _ in range(30)]
    refused = server.generate()

    assert not any(each.done() for each in running), "the places were free already"
    assert statistics.median(health_s) < 0.1
    assert max(health_s) < 1.0
    assert refused.status == 503
    assert json.loads(refused.content)["code"] == "overloaded"
    assert refused.elapsed_s < 1.0
    assert [each.result().status for each in running] == [200] * places


def test_a_running_generation_may_finish_when_the_server_is_asked_to_stop(
    serve: Serve, pool: ThreadPoolExecutor
) -> None:
    server = serve(takes_s=2.0)
    server.wait_until_up()
    (running,) = busy(server, pool, 1)

    stopped_s = server.stop()

    answer = running.result()
    assert answer.status == 200
    assert audio.sniff(answer.content) == "wav"
    assert stopped_s < 8
    assert server.process.returncode == 0


def test_a_server_that_stops_refuses_whoever_comes(serve: Serve, pool: ThreadPoolExecutor) -> None:
    """A balancer tries another replica when it is refused, and not while it has to wait."""
    server = serve(takes_s=4.0)
    server.wait_until_up()
    (running,) = busy(server, pool, 1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connected:
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connected.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connected.recv(65_536)
    with pytest.raises(ConnectionRefusedError):
        server.request("GET", "/health")

    assert not running.done(), "the server had ended already"
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert running.result().status == 200
    assert server.process.wait(timeout=10) == 0


@pytest.mark.parametrize("option", ["--proxy-protocol=auto", "--protocol=uwsgi", "--http2-cleartext=upgrade"])
def test_nothing_is_served_but_plain_http(serve: Serve, option: str) -> None:
    server = serve(option)

    assert server.process.wait(timeout=START_LIMIT_S) == 1
    (line,) = server.stderr.splitlines()
    assert line.startswith("Studio serves plain HTTP/1.1 and not ")
    assert line.endswith(": put a proxy in front that does.")


def test_the_server_ends_in_time_whatever_still_runs(serve: Serve, pool: ThreadPoolExecutor) -> None:
    server = serve("--graceful-timeout", "1", takes_s=20.0)
    server.wait_until_up()
    (running,) = busy(server, pool, 1)

    assert server.stop() < 8
    with pytest.raises((OSError, http.client.HTTPException)):
        running.result()


def test_a_generation_may_take_longer_than_the_servers_timeout(serve: Serve) -> None:
    """The timeout is about the worker's main loop, which turns while threads wait."""
    server = serve("--timeout", "2", takes_s=5.0)
    server.wait_until_up()

    assert server.generate().status == 200
    assert not any("WORKER TIMEOUT" in line["event"] for line in server.log)


def test_settings_that_cannot_be_used_end_the_start_with_their_names(serve: Serve) -> None:
    server = serve(takes_s=None, HF_TIMEOUT_S="abc", STUDIO_DEADLIN_S="60", HF_TOKEN="hf_with a space")

    assert server.process.wait(timeout=START_LIMIT_S) == 1
    lines = server.stderr.splitlines()
    assert lines[0] == "These settings cannot be used:"
    assert {line.split(":")[0] for line in lines[1:]} == {"HF_TIMEOUT_S", "STUDIO_DEADLIN_S", "HF_TOKEN"}
    assert "hf_with" not in server.stderr
    assert server.log == []


def test_other_servers_are_told_about_settings_too() -> None:
    started = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "http"},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_LIMIT_S,
    )

    assert started.returncode == 1
    assert started.stderr.startswith("These settings cannot be used:\nPORT: ")
    assert "Traceback" not in started.stderr


def test_every_line_of_the_log_is_json_and_nothing_else_is_written(serve: Serve) -> None:
    server = serve(takes_s=0.0)
    server.wait_until_up()
    server.generate()
    server.request("GET", "/nowhere?token=secret")
    server.raw(b"NOT HTTP\r\n\r\n")
    server.stop()

    events = [line["event"] for line in server.log]
    assert any(event.startswith("Starting gunicorn") for event in events)
    assert events.count("request") >= 3
    assert all({"timestamp", "level", "logger", "event"} <= set(line) for line in server.log)
    assert not any("secret" in str(line) or "rain" in str(line) for line in server.log)
    assert server.stderr == ""


def test_an_answer_and_its_log_lines_carry_the_same_id(serve: Serve) -> None:
    server = serve(takes_s=0.0)
    server.wait_until_up()

    server.request("POST", "/studio-generate", body=b'{"prompt": "rain"}', headers={**JSON, "X-Request-ID": "my-id.1"})
    server.stop()

    assert [line["event"] for line in server.log if line.get("request_id") == "my-id.1"] == [
        "finished piece",
        "request",
    ]


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 2_000_000])
def test_a_body_in_chunks_beyond_the_limit_is_refused(server: Server, length: int) -> None:
    answer = server.request("POST", "/studio-generate", body=iter([b'{"prompt": "rain"}', b" " * length]))

    assert answer.status == 413
    assert json.loads(answer.content)["code"] == "payload-too-large"


def test_a_large_body_that_declares_its_length_is_refused(server: Server) -> None:
    answer = server.request("POST", "/studio-generate", body=b" " * 5_000_000)

    assert answer.status == 413
    assert answer.elapsed_s < 3


def test_a_body_in_chunks_is_read(server: Server) -> None:
    assert server.request("POST", "/studio-generate", body=iter([b'{"prompt":', b' "rain"}'])).status == 200


def test_broken_chunks_are_the_callers_mistake(server: Server) -> None:
    answer = server.raw(
        b"POST /studio-generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"could not be read to its end" in answer


def test_who_asks_before_sending_the_body_is_told_at_once(server: Server) -> None:
    """curl does so for larger bodies, and waits a second for the answer."""
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "--data-binary", "@-"]
    headers = ["-H", "Content-Type: application/json", "-H", "Expect: 100-continue"]
    done = subprocess.run(
        [*command, *headers, f"http://127.0.0.1:{server.port}/studio-generate"],
        input=b'{"prompt": "rain"}'.ljust(30_000),
        capture_output=True,
        check=True,
        timeout=30,
    )

    status, elapsed_s = done.stdout.split()
    assert status == b"200"
    assert float(elapsed_s) < 0.9


def test_what_is_not_http_is_a_problem_too(server: Server) -> None:
    head, _, content = server.raw(b"NOT HTTP\r\n\r\n").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(content)["code"] == "invalid-request"


def test_who_is_too_slow_is_told(serve: Serve) -> None:
    server = serve(takes_s=0.0, STUDIO_REQUEST_TIMEOUT_S="0.5")
    server.wait_until_up()

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "request-timeout"' in answer


def test_it_may_open_as_many_files_as_its_settings_need(serve: Serve) -> None:
    """Shells and service managers allow 1,024 at first."""
    server = serve(takes_s=0.0, STUDIO_MAX_ACTIVE="500")
    server.wait_until_up()

    with Path(f"/proc/{server.pid}/limits").open(encoding="ascii") as limits:
        (line,) = [line for line in limits if line.startswith("Max open files")]
    assert int(line.split()[3]) > 500 * 2 + 1_000


@pytest.mark.parametrize("host", ["", "a b", "[::1", "x:99999999", "studio.onrender.com", "é"])
def test_no_host_header_breaks_the_service(server: Server, host: str) -> None:
    answer = server.raw(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


def test_all_on_the_documentations_page_is_served(server: Server) -> None:
    for path in (
        "/docs/",
        "/docs/openapi.json",
        "/docs/errors",
        "/docs/static/swagger-page.js",
        "/docs/static/errors.css",
        "/docs/swagger/js/swagger-ui-bundle.js",
        "/docs/swagger/css/swagger-ui.css",
        "/docs/swagger/images/swagger.svg",
    ):
        assert server.request("GET", path).status == 200, path
