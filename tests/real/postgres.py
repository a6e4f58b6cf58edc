"""A Postgres of the tests' own: Debian's, on a free port of the loopback, in a folder that goes away with it.

It ends with the process that started it, even when that is killed: a shell waits at the other
end of a pipe. Postgres refuses to run as root, so that root lends it to an unprivileged user.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg

INSTALL: Final = "Postgres is missing, which these tests need: apt-get install postgresql"
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 20.0

_DEBIANS: Final = Path("/usr/lib/postgresql")
_UNTIL_THE_PIPE_CLOSES: Final = '"$@" & read -r _; kill -QUIT $!; wait $!'
_numbers = itertools.count(1)


class NotInstalled(Exception):
    """There is no Postgres on this machine."""


class Postgres:
    """One cluster; a context manager, whose end stops the server and removes its files."""

    def __init__(self, *options: str) -> None:
        """Make the cluster; the first `start` starts it.

        Args:
            options: Of postgresql.conf, e.g. `fsync=off`, which no killed process notices and a lost machine would.

        Raises:
            NotInstalled: with the sentence that says how to install it.
        """
        self._programs = _programs()
        self._options = options
        self._password = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="studio-postgres-"))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._user = _unprivileged_user()
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._make_cluster()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and return when it answers; after a `stop`, with the data and on the port it had before."""
        place = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "max_connections=200")
        options = [part for option in (*place, *self._options) for part in ("-c", option)]
        shell = ("sh", "-c", _UNTIL_THE_PIPE_CLOSES, "sh")
        with self._log.open("ab") as log:
            self._process = self._popen(
                *shell, self._programs / "postgres", "-D", self._data, *options, output=log.fileno()
            )
        give_up_at = time.monotonic() + START_LIMIT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > give_up_at:
                    self.stop()
                    raise TimeoutError(f"{error}\n{self._log.read_text(encoding='utf-8')}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it as a power cut would: nobody is asked to finish, and the next `start` recovers."""
        if self._process is not None:
            self.resume()
            self._process.communicate(timeout=STOP_LIMIT_S)
            self._process = None

    def pause(self) -> None:
        """Let nobody answer any more, while every connection stays open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def new_database(self) -> str:
        """Return the URL of an empty database."""
        name = f"studio_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://studio:{self._password}@127.0.0.1:{self.port}/{database}"

    def _make_cluster(self) -> None:
        password = self._folder / "password"
        password.write_text(self._password, encoding="ascii")
        access = ("--username=studio", "--auth=scram-sha-256", f"--pwfile={password}")
        initdb = (self._programs / "initdb", "-D", self._data, *access, "--encoding=UTF8", "--locale=C", "--no-sync")
        process = self._popen(*initdb, output=subprocess.PIPE)
        output, _ = process.communicate(timeout=START_LIMIT_S)
        if process.returncode:
            shutil.rmtree(self._folder)
            raise RuntimeError(f"initdb failed: {output.decode()}")

    def _popen(self, *command: str | Path, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=self._user and self._user.pw_uid,
            group=self._user and self._user.pw_gid,
            extra_groups=self._user and [],
            start_new_session=True,
        )

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):  # the processes of connections come and go
                os.kill(pid, number)

    def _pids(self) -> Iterator[int]:
        """Yield the server's processes, the one that starts the others first."""
        try:
            postmaster = int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0])
        except FileNotFoundError:
            return
        yield postmaster
        yield from map(int, Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split())


def _programs() -> Path:
    versions = sorted(_DEBIANS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    if found is None:
        raise NotInstalled(INSTALL)
    return Path(found).parent


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return whom root lends the server to; None: we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
