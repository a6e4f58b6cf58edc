"""A disk that can be full: a small tmpfs where we may mount one, else a limit on what the program may write."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from real.programs import Program

SIZE_BYTES: Final = 8 * 2**20
_BALLAST: Final = "ballast"
_TRACE_BYTES: Final = 4_096
"""Enough for what the tests' engine notes down, and less than a single page in the log of an SQLite file."""


class Disk(Protocol):
    """A folder whose disk can be filled under a running program."""

    def fill(self, program: Program) -> None: ...

    def free(self, program: Program) -> None: ...


class Tmpfs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self, program: Program) -> None:
        with (self._folder / _BALLAST).open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4_096))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop ends in no other way

    def free(self, program: Program) -> None:
        (self._folder / _BALLAST).unlink()

    def set_writable(self, *, writable: bool) -> None:
        """Let the disk be written to or not; nobody may have a file of it open for writing."""
        _mount("remount," + ("rw" if writable else "ro"), self._folder)


class WriteLimit:
    """No file of the program may grow beyond a few lines: writing gives EFBIG where a full disk gives ENOSPC."""

    def fill(self, program: Program) -> None:
        self._limit(program, _TRACE_BYTES)

    def free(self, program: Program) -> None:
        self._limit(program, resource.RLIM_INFINITY)

    def _limit(self, program: Program, soft: int) -> None:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text(encoding="ascii").split()
        for pid in (program.pid, *map(int, children)):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Make the folder a small disk until the block ends."""
    folder.mkdir()
    if not may_mount(folder):
        yield WriteLimit()
        return
    try:
        yield Tmpfs(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def may_mount(folder: Path) -> bool:
    """Mount a tmpfs over the folder and tell whether that went well."""
    return os.geteuid() == 0 and _mount(f"size={SIZE_BYTES}", folder)


def _mount(options: str, folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
