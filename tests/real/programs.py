"""The service's programs as processes of their own: gunicorn and workers, with all that they write."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 40.0
ANSWER_LIMIT_S: Final = 60.0
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes
    elapsed_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.content)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def wait_for(condition: Callable[[], object], limit_s: float = 30.0) -> None:
    """Return when the condition holds.

    Raises:
        AssertionError: it does not within the limit.
    """
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.05)


class Program:
    """One Python program and its children, which are killed together."""

    def __init__(self, folder: Path, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        """
        Args:
            folder: Gets `stdout` and `stderr`.
            module: What `python -m` runs, with these arguments, in the project's folder.
            environment: Settings by name; those of whoever runs the tests are left out.
        """
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "HF_", "COV_"))}
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "real")))
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**clean, "PYTHONPATH": paths, **environment},
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it wrote to stdout; every line must be JSON."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def wait_until_running_jobs(self) -> None:
        """Return when this worker takes jobs: before that, a stop or a kill would hit a program that has none."""
        give_up_at = time.monotonic() + START_LIMIT_S
        while "running jobs" not in self.stdout:
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise AssertionError(f"the worker did not start: {self.stderr}{self.stdout}")
            time.sleep(0.05)

    def stop(self) -> float:
        """Ask it to end and return how many seconds that took."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=STOP_LIMIT_S)
        return time.monotonic() - started_s

    def kill(self) -> None:
        """End it and its children, as `kill -9` or a power cut would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)


class Server(Program):
    """A gunicorn of our own."""

    def __init__(self, folder: Path, app: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
        self.port = free_port()
        address = {"PORT": str(self.port), "STUDIO_HOST": "127.0.0.1"}
        super().__init__(folder, "gunicorn", *options, app, environment={**address, **environment})

    def wait_until_up(self) -> None:
        give_up_at = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.request("GET", "/health")
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    raise AssertionError(f"gunicorn did not start: {self.stderr}{self.stdout}") from error
                time.sleep(0.05)
            else:
                return

    def wait_until_ready(self) -> None:
        """Return when it can do its job, which is to run jobs too where it is the one who does so."""
        give_up_at = time.monotonic() + START_LIMIT_S
        while (answer := self.request("GET", "/ready")).status != 200:
            assert time.monotonic() < give_up_at, f"{answer.content.decode()}{self.stderr}{self.stdout}"
            time.sleep(0.05)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] = JSON,
        timeout_s: float = ANSWER_LIMIT_S,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        started_s = time.monotonic()
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read(), time.monotonic() - started_s)
        finally:
            connection.close()

    def generate(self, **fields: object) -> Answer:
        return self.request("POST", "/studio-generate", body=json.dumps({"prompt": "rain", **fields}).encode())

    def raw(self, content: bytes) -> bytes:
        """Send these bytes and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
