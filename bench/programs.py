"""Programs that are measured: processes of their own, which end with the block that started them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.005
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a program holds at one time.

    Attributes:
        rss_bytes: Resident size of its largest process, which is the one that serves.
        peak_bytes: The largest that any of its processes has been so far.
        pss_bytes: Of all processes together, what they share counted once.
    """

    rss_bytes: int
    peak_bytes: int
    pss_bytes: int


_SETTINGS: Final = ("STUDIO_", "HF_", "MALLOC_", "GLIBC_")


class Program:
    """A program that listens on a port of the loopback, and its children."""

    def __init__(self, command: Sequence[str], port: int, *, folder: Path, environment: Mapping[str, str]) -> None:
        """
        Args:
            command: What to run, in the project's folder.
            port: Where it will listen.
            folder: Gets `log`, with all that it writes.
            environment: On top of this process's, without its settings and its allocator's.
        """
        self.port = port
        self.log = folder / "log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        self.started_s = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**kept, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, path: str | None) -> float:
        """Return how many seconds after its start `path` was answered with 200, or a connection taken if it is None.

        Raises:
            RuntimeError: it ended, or took too long.
        """
        while time.monotonic() < self.started_s + START_LIMIT_S:
            if self._process.poll() is not None:
                break
            try:
                if path is None:
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                    return time.monotonic() - self.started_s
                if get(self.port, path)[0] == 200:
                    return time.monotonic() - self.started_s
            except (OSError, HTTPException):
                pass
            time.sleep(_LOOK_AGAIN_S)
        raise RuntimeError(f"{self._process.args!r} did not start: {self.log.read_text(errors='replace')[-2_000:]}")

    def stop(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LIMIT_S)
        # Whatever is left of it: a server's workers, when the server itself died.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of this program: it started a session, and they are in it."""
        found = []
        for stat in _PROC.glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it just ended
                continue
            if int(fields[3]) == self._process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return tuple(found)

    def memory(self) -> Memory:
        """Return what its processes hold now, and held at most."""
        pids = self.pids
        return Memory(
            rss_bytes=max((_told_bytes(pid, "status", "VmRSS") for pid in pids), default=0),
            peak_bytes=max((_told_bytes(pid, "status", "VmHWM") for pid in pids), default=0),
            pss_bytes=sum(_told_bytes(pid, "smaps_rollup", "Pss") for pid in pids),
        )


def _told_bytes(pid: int, file: str, name: str) -> int:
    """Return what a file of /proc says about a process; 0 when it has just ended."""
    try:
        text = (_PROC / str(pid) / file).read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def running(
    command: Sequence[str], port: int, *, folder: Path, environment: Mapping[str, str], up: str | None
) -> Iterator[Program]:
    """Run a program until the block ends; yields it once it is up (see `Program.wait`)."""
    program = Program(command, port, folder=folder, environment=environment)
    try:
        program.wait(up)
        yield program
    finally:
        program.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of the answer to a GET on a new connection."""
    return ask(port, "GET", path, None, {})


def ask(port: int, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return status and body of the answer to a request on a new connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
