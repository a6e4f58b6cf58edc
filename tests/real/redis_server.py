"""A Redis of the tests' own: Debian's, on a free port of the loopback, without a file.

It ends with the process that started it, even when that is killed: a shell waits at the other
end of a pipe. (Not called `redis`, or it would be imported for the library of that name.)
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis import Redis
from redis.exceptions import RedisError

INSTALL: Final = "Redis is missing, which these tests need: apt-get install redis-server"
START_LIMIT_S: Final = 20.0
STOP_LIMIT_S: Final = 10.0

_UNTIL_THE_PIPE_CLOSES: Final = '"$@" & read -r _; kill -KILL $!; wait $!'


class NotInstalled(Exception):
    """There is no Redis on this machine."""


class RedisServer:
    """One server; a context manager, whose end stops it."""

    def __init__(self) -> None:
        """Find a place for it; the first `start` starts it.

        Raises:
            NotInstalled: with the sentence that says how to install it.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise NotInstalled(INSTALL)
        self._program = program
        self.password = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="studio-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and return when it answers; after a `stop`, empty and on the port it had before."""
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--requirepass": self.password,
            "--save": "",
            "--appendonly": "no",
            "--pidfile": str(self._folder / "pid"),
            "--dir": str(self._folder),
        }
        command = [self._program, *(part for option in options.items() for part in option)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_THE_PIPE_CLOSES, "sh", *command],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        give_up_at = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except RedisError as error:
                if time.monotonic() > give_up_at:
                    log_text = (self._folder / "log").read_text(encoding="utf-8")
                    self.stop()
                    raise TimeoutError(f"{error}\n{log_text}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Kill it: nobody is asked to finish."""
        if self._process is not None:
            self._process.communicate(timeout=STOP_LIMIT_S)
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it answer nothing for as long as the block lasts, while every connection stays open."""
        with self.client() as client:
            info: dict[str, int] = client.info("server")
        os.kill(info["process_id"], signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(info["process_id"], signal.SIGCONT)

    def client(self) -> Redis:
        """Return a client, to be closed by the caller."""
        return Redis.from_url(self.url, socket_timeout=2, decode_responses=True)

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()
