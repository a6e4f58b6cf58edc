"""The servers that are compared, each a process of its own on a free port of the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, *, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server until the block ends; yields its port once it accepts connections."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "HF_"))}
    process = subprocess.Popen(
        command, cwd=ROOT, env={**inherited, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not start in {START_TIMEOUT_S:g} s")


def upstream(port: int) -> list[str]:
    """Return the command of a server that answers every POST at once with a 30 s WAV in JSON."""
    return [sys.executable, "-m", "bench.upstream", str(port)]


def studio(port: int) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "wsgi:app"]


def naive(port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "-c", "/dev/null", "-b", f"127.0.0.1:{port}"),
        *("-k", "gthread", "--threads", "16", "bench.naive:app"),
    ]


def post(port: int, path: str, body: bytes) -> bytes:
    """Return the body of a good answer to a POST of JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {content[:200]!r}")
        return content
    finally:
        connection.close()
