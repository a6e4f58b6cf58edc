"""Real Gradio servers for the tests: started together, waited for one by one, stopped for certain.

`Gradio` stands for one version. It has a few *places* (a mode, and the path of an application);
`gradio.url("space")` returns when that place answers. Most places share one process, because
importing Gradio takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from real.environments import gradio_python

PROGRAM: Final = Path(__file__).with_name("gradio_app.py")
START_LIMIT_S: Final = 120.0
"""A cold import of Gradio on a busy machine took 20 s."""

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""Opens a URL without the proxies that the environment may name."""

PlaceName = Literal["plain", "mounted", "small", "interface", "unnamed", "auth", "full", "verbose", "mortal", "space"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an application is found: which process, which of its doors (see `gradio_app.py`), which path."""

    process: str
    door: str
    path: str = ""


PLACES: Final[Mapping[PlaceName, Place]] = {
    "plain": Place("local", "plain"),
    "mounted": Place("local", "mounted", "/studio"),
    "small": Place("local", "mounted", "/small"),
    "interface": Place("local", "mounted", "/interface"),
    "unnamed": Place("local", "mounted", "/unnamed"),
    "auth": Place("local", "auth"),
    "full": Place("local", "full"),
    "verbose": Place("local", "verbose"),
    "mortal": Place("local", "mortal"),
    "space": Place("space", "plain"),
}

# What Hugging Face sets in a Space: Gradio then closes the synchronous routes of queued functions, and
# puts a web server of its own before them (5.0 and later, where Node is found).
_SPACE_ENVIRONMENT: Final = {
    "SYSTEM": "spaces",
    "SPACE_ID": "owner/space",
    "SPACE_HOST": "owner-space.hf.space",
    "SPACE_AUTHOR_NAME": "owner",
    "GRADIO_SSR_MODE": "True",
}


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """What a function of the application received."""

    function: str
    inputs: Mapping[str, object]


class Process:
    """A `gradio_app.py` with some doors open."""

    def __init__(self, python: Path, doors: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """
        Args:
            python: An interpreter that has Gradio.
            doors: The doors to open.
            folder: Empty; for the log, the log of calls and the files that Gradio keeps.
            environment: Variables beside the usual ones.
        """
        self._python = python
        self._ports = dict(zip(doors, free_ports(len(doors)), strict=True))
        self._calls = folder / "calls.jsonl"
        self._log = folder / "server.log"
        self._temporary = folder / "tmp"
        self._extra = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it takes seconds until its doors are open."""
        self._temporary.mkdir()
        self._calls.touch()
        arguments = [f"{door}={port}" for door, port in self._ports.items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._python), "-W", "ignore", str(PROGRAM), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self._temporary,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LC_ALL")}
        return {
            **kept,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "INPUTS_LOG": str(self._calls),
            "TMPDIR": str(self._temporary),
            "PYTHONUNBUFFERED": "1",
            **self._extra,
        }

    def await_open(self, door: str, path: str) -> str:
        """Return the URL of a path behind a door, once something answers there."""
        url = f"http://127.0.0.1:{self._ports[door]}{path}"
        give_up_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up_s and self._process is not None and self._process.poll() is None:
            try:
                with _open(f"{url}/config", timeout=10):
                    return url
            except urllib.error.HTTPError as error:
                with error:
                    return url  # an answer all the same: the door behind a login says 401
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{url} does not answer; the end of its log:\n{self._log.read_text()[-4_000:]}")

    def stop(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        if self._process.stdin:
            self._process.stdin.close()

    @property
    def calls(self) -> list[ReceivedCall]:
        """What the functions received so far, oldest first."""
        return [ReceivedCall(**json.loads(line)) for line in self._calls.read_text(encoding="utf-8").splitlines()]


class Gradio:
    """One version of Gradio, and the servers that run it."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self.major = int(version.partition(".")[0])
        self._processes: dict[str, Process] = {}
        self._urls: dict[PlaceName, str] = {}
        for name in dict.fromkeys(place.process for place in PLACES.values()):
            (folder / name).mkdir()
            doors = list(dict.fromkeys(place.door for place in PLACES.values() if place.process == name))
            environment = _SPACE_ENVIRONMENT if name == "space" else {}
            self._processes[name] = Process(gradio_python(version), doors, folder / name, environment)

    @property
    def prefix(self) -> str:
        """Where the routes of the API lie below an application's path."""
        return "/gradio_api" if self.major >= 5 else ""

    def start(self) -> None:
        """Start all processes, together: each needs seconds to import Gradio, most of them on one core."""
        for process in self._processes.values():
            process.start()

    def stop(self) -> None:
        for process in self._processes.values():
            process.stop()

    def url(self, place: PlaceName) -> str:
        """Return the base URL of a place, as soon as it answers."""
        if place not in self._urls:
            where = PLACES[place]
            self._urls[place] = self._processes[where.process].await_open(where.door, where.path)
        return self._urls[place]

    def calls(self, place: PlaceName, function: str) -> list[ReceivedCall]:
        """Return what a function received so far, oldest first."""
        return [call for call in self._processes[PLACES[place].process].calls if call.function == function]


def free_ports(count: int) -> list[int]:
    """Return so many different ports on which nobody listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Return as soon as the condition holds.

    Raises:
        AssertionError: it did not hold within `limit_s` seconds.
    """
    give_up_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_s, "waited in vain"
        time.sleep(0.02)


def get_json(url: str) -> object:
    """Return the JSON at a URL, past our own client."""
    with _open(url, timeout=10) as answer:
        return json.load(answer)


def post_json(url: str, body: object) -> tuple[int, object]:
    """Post to a server past our own client, and return the status and the JSON of the answer."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with _open(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")
