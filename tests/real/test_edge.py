"""What the server itself believes, refuses and tells, before and after our code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from real.programs import Server

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a proxy in front."""
    yield from started(tmp_path_factory.mktemp("bare"), {})


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was told of one proxy."""
    yield from started(tmp_path_factory.mktemp("proxied"), {"STUDIO_TRUSTED_PROXIES": "1"})


def started(folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    server = Server(folder, "slow_service:app", (), {"TEST_ENGINE_TAKES_S": "0", **environment})
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()


def test_https_is_not_believed_for_coming_from_this_machine(server: Server, proxied: Server) -> None:
    """gunicorn does that, when left to itself."""
    for name, value in (("X-Forwarded-Proto", "https"), ("X-Forwarded-Protocol", "ssl"), ("X-Forwarded-Ssl", "on")):
        assert "Strict-Transport-Security" not in server.request("GET", "/health", headers={name: value}).headers

    believed = proxied.request("GET", "/health", headers={"X-Forwarded-Proto": "https"})
    assert believed.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "X_Forwarded_For", "REMOTE_ADDR", "HTTP_X_API_KEY"])
def test_a_header_cannot_become_what_the_server_says_of_the_request(server: Server, name: str) -> None:
    answer = server.raw(f"GET /health HTTP/1.1\r\nHost: x\r\n{name}: /docs\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    assert b'"status":"ok"' in answer or answer.startswith(b"HTTP/1.1 400 ")


def test_no_version_of_any_software_is_told(server: Server) -> None:
    for path in ("/health", "/nowhere", "/docs/"):
        headers = server.request("GET", path).headers

        assert not re.search(r"\d", headers.get("Server", ""))
        assert "X-Powered-By" not in headers


@pytest.mark.parametrize(
    "request_head",
    [
        f"GET /{'x' * 9_000} HTTP/1.1\r\nHost: x\r\n",
        f"GET /health?{'x' * 9_000} HTTP/1.1\r\nHost: x\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-H{n}: 1\r\n" for n in range(100)),
        f"GET /health HTTP/1.1\r\nHost: x\r\nX-H: {'x' * 9_000}\r\n",
    ],
    ids=["path", "query", "headers", "header"],
)
def test_a_head_beyond_all_need_is_refused(server: Server, request_head: str) -> None:
    answer = server.raw(f"{request_head}Connection: close\r\n\r\n".encode())

    assert re.match(rb"HTTP/1\.[01] 4(00|14|31) ", answer)
    assert b"xxxxxxxx" not in answer
    assert server.request("GET", "/health").status == 200


def test_a_query_that_still_gets_through_is_refused_with_a_reason(server: Server) -> None:
    answer = server.request("GET", f"/api/engines?a={'x' * 3_000}")

    assert answer.status == 400
    assert json.loads(answer.content)["errors"] == [{"field": "query", "message": "must be at most 2000 characters"}]
