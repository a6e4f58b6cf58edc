"""The site of a measurement: an upstream, and the contenders that are started around it."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import client, programs
from bench.contenders import API_KEY, DIRECT, Contender, NotAvailable, Place, Start
from bench.programs import Program
from bench.samples import Sample

HEADERS: Final = {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"}
BODY: Final = json.dumps({"prompt": "calm piano", "duration": 5})
GENERATE: Final = "/studio-generate"


@dataclass(frozen=True, slots=True)
class Caller:
    """How to call a contender.

    Attributes:
        name: Of the contender.
        port: Where it listens.
        path: Where it takes requests for audio.
        program: Its processes; the upstream's when it is called directly.
    """

    name: str
    port: int
    path: str
    program: Program

    def load(self, *, clients: int, requests: int, warm_up: int, limit_s: float = 120.0) -> client.Result:
        """Call it that often, from a process of its own."""
        head = client.head("POST", self.path, HEADERS, body=BODY)
        return client.load(client.Load(self.port, head, BODY, clients, requests, warm_up, limit_s))

    def answer(self) -> bytes:
        """Return the body of one good answer.

        Raises:
            RuntimeError: it is none.
        """
        status, content = programs.ask(self.port, "POST", self.path, BODY, HEADERS)
        if status != 200:
            raise RuntimeError(f"{self.name} answered {status}: {content[:500]!r}")
        return content


class Site:
    """An upstream, and folders and ports for contenders; all of it goes with the block that `open_site` begins."""

    def __init__(self, stack: ExitStack, folder: Path, upstream: Program, *, build: bool = True) -> None:
        self._stack = stack
        self._folder = folder
        self._build = build
        self._count = 0
        self.upstream = upstream

    def url(self, sample: Sample) -> str:
        return f"http://127.0.0.1:{self.upstream.port}{sample.path}"

    def direct(self, sample: Sample) -> Caller:
        """Return how to call the upstream with nothing in between."""
        return Caller(DIRECT, self.upstream.port, sample.path, self.upstream)

    def counts(self) -> Mapping[str, int]:
        """Return how many `connections` and `requests` have reached the upstream."""
        counts: dict[str, int] = json.loads(programs.get(self.upstream.port, "/counts")[1])
        return counts

    def start(self, name: str, contender: Contender, sample: Sample) -> Caller:
        """Start a contender, and return how to call it once it has given the sample back as it should.

        Raises:
            NotAvailable: it is not installed here.
            RuntimeError: it does not start, or gives something else.
        """
        program, start = self._started(contender, self.url(sample))
        caller = Caller(name, program.port, GENERATE, program)
        if not sample.delay_s:
            check(caller, start, sample)
        return caller

    def start_for(self, contender: Contender, upstream_url: str) -> Program:
        """Start a contender with any upstream."""
        return self._started(contender, upstream_url)[0]

    def timed_start(self, contender: Contender) -> tuple[Program, float]:
        """Start a contender, and return how many seconds passed until it was up."""
        place = self._place(f"http://127.0.0.1:{self.upstream.port}/short")
        start = contender(place)
        program = Program(start.command, place.port, folder=place.folder, environment=start.environment)
        self._stack.callback(program.stop)
        return program, program.wait(start.up)

    def _started(self, contender: Contender, upstream_url: str) -> tuple[Program, Start]:
        place = self._place(upstream_url)
        start = contender(place)
        context = programs.running(
            start.command, place.port, folder=place.folder, environment=start.environment, up=start.up
        )
        return self._stack.enter_context(context), start

    def _place(self, upstream_url: str) -> Place:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return Place(programs.free_port(), upstream_url, folder, build=self._build)


def check(caller: Caller, start: Start, sample: Sample) -> None:
    """Raise a RuntimeError when the contender does not give the sample back, bit by bit."""
    content = caller.answer()
    if start.gives == "answer":
        content = base64.b64decode(json.loads(content)["data"][0]["data"])
    if content != sample.wav():
        raise RuntimeError(f"{caller.name} gives something else than it got")


@contextmanager
def open_site(*, hangs_up: bool = False, build: bool = True) -> Iterator[Site]:
    """Start an upstream; with `hangs_up` it closes each connection instead of answering."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)
        port = programs.free_port()
        own = folder / "upstream"
        own.mkdir()
        command = [sys.executable, "-m", "bench.upstream", str(port), *(["--hang-up"] if hangs_up else [])]
        upstream = stack.enter_context(programs.running(command, port, folder=own, environment={}, up=None))
        yield Site(stack, folder, upstream, build=build)


def start_all(
    site: Site, contenders: Mapping[str, Contender], sample: Sample, note: Callable[[str], None]
) -> list[Caller]:
    """Start what is available here; `note` is told what is not."""
    callers = [site.direct(sample)]
    for name, contender in contenders.items():
        try:
            callers.append(site.start(name, contender, sample))
        except NotAvailable as error:
            note(f"{name} is left out: {error}")
    return callers
