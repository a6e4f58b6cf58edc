"""The fault matrix: every toxic at every step of every upstream's answer, and what callers of every endpoint get.

Three tables say all of it, `TOXICS`, `SHAPES` and `ENDPOINTS`; a line more in one of them is that many
cells more. What a toxic comes to stands in its row, so that the cells and `docs/faults.md`, which is made
from the same rows, cannot say different things. `Run` puts cells to the test against a real gunicorn, many
at the same time because nearly all of it is waiting.

`python -m tools.fault_matrix` runs all cells; the tests run `pairwise(every_cell())`.
"""

from __future__ import annotations

import itertools
import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from fakes import tone
from real.faults import Answer as Play
from real.faults import (
    Close,
    Drip,
    FaultyServer,
    Repeat,
    Request,
    Reset,
    Send,
    Wait,
    answer,
    gradio_config,
    head,
)
from real.programs import JSON, ROOT, Answer, Server

from app.audio import prove
from app.errors import EngineError, catalogue

SEEN: Final = ROOT / "tests" / "fixtures" / "hf"
TOKEN: Final = "hf_PLANTEDsecretTOKEN123"

ATTEMPTS: Final = 2
ATTEMPT_S: Final = 3.0
DEADLINE_S: Final = 8.0
JOB_DEADLINE_S: Final = 20.0
MAX_AUDIO_BYTES: Final = 2**18
AT_ONCE: Final = 24
"""Cells under way at the same time."""

JOBS_AT_ONCE: Final = 10
"""Fewer: all of them write into one SQLite file, and must not be kept from it for the length of an attempt."""

QUEUE_LIMIT_S: Final = 60.0
"""How long the others may have to wait for their turn."""

SETTINGS: Final[Mapping[str, str]] = {
    "HF_API_URL": "http://127.0.0.1:9/not-asked",
    "HF_TOKEN": TOKEN,
    "HF_ATTEMPTS": str(ATTEMPTS),
    "HF_TIMEOUT_S": str(ATTEMPT_S),
    "HF_BACKOFF_S": "0",
    "STUDIO_DEADLINE_S": str(DEADLINE_S),
    "STUDIO_JOB_ATTEMPTS": str(ATTEMPTS),
    "STUDIO_JOB_TIMEOUT_S": str(ATTEMPT_S),
    "STUDIO_JOB_DEADLINE_S": str(JOB_DEADLINE_S),
    "STUDIO_JOB_WORKERS": str(JOBS_AT_ONCE),
    "STUDIO_MAX_AUDIO_BYTES": str(MAX_AUDIO_BYTES),
    # Opening is what it would do here, and what no other cell could be told from. It has tests of its own.
    "STUDIO_BREAKER_FAILURES": "1000",
    # All cells come from one address, which may have half of the streams.
    "STUDIO_MAX_STREAMS": "128",
}


# ---------------------------------------------------------------------- what comes of a toxic


@dataclass(frozen=True, slots=True)
class Fate:
    """What callers get.

    Attributes:
        code: Of the problem, or `ok` for audio that plays.
        attempts: How often the upstream is asked.
    """

    code: str
    attempts: int = 1

    @property
    def status(self) -> int:
        return STATUSES[self.code]

    def __str__(self) -> str:
        told = f"{self.status} `{self.code}`" if self.code != "ok" else f"{self.status}, it plays"
        return told if self.attempts == 1 else f"{told} × {self.attempts}"


ROWS: Final = {row.code(): row for row in catalogue() if issubclass(row, EngineError)}
STATUSES: Final = {"ok": 200, **{code: row.status for code, row in ROWS.items()}}

OK: Final = Fate("ok")
AWAY: Final = Fate("upstream-unavailable", ATTEMPTS)
SLOW: Final = Fate("upstream-timeout", ATTEMPTS)
CUT: Final = Fate("upstream-bad-response", ATTEMPTS)
BAD: Final = Fate("upstream-bad-response")
REJECTED: Final = Fate("upstream-rejected")


# ---------------------------------------------------------------------- toxics


@dataclass(frozen=True, slots=True)
class Good:
    """What an upstream says at one step when it is well."""

    content_type: str
    body: bytes

    @property
    def head(self) -> bytes:
        return head(length=len(self.body), content_type=self.content_type)

    @property
    def half(self) -> bytes:
        return self.body[: len(self.body) // 2]

    @property
    def whole(self) -> Send:
        return Send(self.head + self.body)


@dataclass(frozen=True, slots=True)
class Toxic:
    """Something that an upstream does to its answer.

    Attributes:
        does: What that is, for people who read the table.
        seen: What their callers see of it.
        play: Makes it of the good answer; None refuses connections from this step on.
        fate: What comes of it,
        elsewhere: except in these shapes or at these steps, a shape going first.
    """

    does: str
    seen: str
    play: Callable[[Good], Play] | None
    fate: Fate
    elsewhere: Mapping[str, Fate] = field(default_factory=dict)

    def fate_at(self, place: Place) -> Fate:
        return self.elsewhere.get(place.shape, self.elsewhere.get(place.step, self.fate))


def overwritten(body: bytes) -> bytes:
    """Return the body with 16 bytes in its middle that neither JSON nor base64 can hold."""
    at = len(body) // 2
    return body[:at] + b"\xff" * 16 + body[at + 16 :]


LIE: Final = f"<!DOCTYPE html><h1>Oops</h1><pre>Traceback: /srv/space/app.py, Bearer {TOKEN}</pre>".encode()

TOXICS: Final[Mapping[str, Toxic]] = {
    "refuse": Toxic(
        "Connections are refused.",
        "The music engine is not available right now; asking again later is sensible.",
        None,
        AWAY,
    ),
    "reset": Toxic(
        "The connection is reset instead of an answer.",
        "The same.",
        lambda _: (Reset(),),
        AWAY,
        {"info": OK},
    ),
    "drip header": Toxic(
        "One byte every 0.2 s, from the status line on.",
        "The music engine did not finish in time. No byte of it stretches the time limit.",
        lambda good: (Drip(good.whole.data, every_s=0.2),),
        SLOW,
        {"info": OK},
    ),
    "drip body": Toxic(
        "The headers at once, then one byte every 0.2 s.",
        "The same.",
        lambda good: (Send(good.head), Drip(good.body, every_s=0.2)),
        SLOW,
        {"info": OK},
    ),
    "truncate": Toxic(
        "The connection ends in the middle of the body.",
        "The music engine's answer could not be used: it was cut off.",
        lambda good: (Send(good.head + good.half), Close()),
        CUT,
        {"info": OK},
    ),
    "truncate quietly": Toxic(
        "Half of the body, with the length of a half: only the content tells.",
        "The same. It is asked for again where it is cut off for sure; JSON may just be bad, and will not get better.",
        lambda good: answer(good.half, content_type=good.content_type),
        BAD,
        {
            "info": OK,
            **dict.fromkeys(("config", "stream", "file", "WAV", "WAV, large", "FLAC", "base64", "data URL"), CUT),
        },
    ),
    "corrupt": Toxic(
        "16 bytes in the middle are overwritten.",
        "The music engine's answer could not be used. In a WAV it is a click, which nothing in the file tells.",
        lambda good: answer(overwritten(good.body), content_type=good.content_type),
        BAD,
        {"info": OK, "config": CUT, "FLAC": CUT, "WAV": OK, "WAV, large": OK, "file": OK},
    ),
    "delay": Toxic(
        "The answer comes after the time limit.",
        "The music engine did not finish in time.",
        lambda good: (Wait(), good.whole),
        SLOW,
        {"info": OK},
    ),
    "lag": Toxic(
        "The answer is slow, and in time.",
        "Nothing but the wait.",
        lambda good: (Wait(0.2), good.whole),
        OK,
    ),
    "lie": Toxic(
        "A web page under status 200 and the expected content type.",
        "The music engine's answer could not be used. Where an app describes itself, a page means that there is no "
        "such app, and so that `HF_API_URL` is wrong.",
        lambda good: answer(LIE, content_type=good.content_type),
        BAD,
        {"info": OK, "config": REJECTED, "stream": CUT},
    ),
    "mislabel": Toxic(
        "The good answer, called `text/html`.",
        "Nothing: what counts is the content. A stream that is called none is not waited for.",
        lambda good: answer(good.body, content_type="text/html"),
        OK,
        {"stream": BAD},
    ),
    "flood": Toxic(
        "Half of the body, and then more and more, without an end.",
        "The music engine's answer could not be used: it was left at the size limit.",
        lambda good: (Send(head(content_type=good.content_type) + good.half), Repeat(b"A" * 65_536)),
        BAD,
        {"info": OK},
    ),
}


# ---------------------------------------------------------------------- shapes


@dataclass(frozen=True, slots=True)
class Part:
    """One step of an upstream's way: `POST /run/predict`, and what it says there when it is well."""

    request: str
    good: Good


@dataclass(frozen=True, slots=True)
class Shape:
    """How an upstream answers.

    Attributes:
        path: What `HF_API_URL` ends in.
        parts: Its steps, by name, in the order in which they are taken.
    """

    path: str
    parts: Mapping[str, Part]


ONLY_STEP: Final = "answer"
"""Of servers that say all they have to say in one answer."""

CONTENT_TYPES: Final = {".wav": "audio/wav", ".flac": "audio/flac", ".txt": "text/plain", ".sse": "text/event-stream"}


def seen(name: str) -> Good:
    """Return a body of `tests/fixtures/hf`, all of which were seen."""
    path = SEEN / name
    return Good(CONTENT_TYPES.get(path.suffix, "application/json"), path.read_bytes())


def said(value: object) -> Good:
    return Good("application/json", json.dumps(value).encode())


def plain(good: Good) -> Shape:
    """Return a server without a signature."""
    return Shape("/run/predict", {ONLY_STEP: Part("POST /run/predict", good)})


RUN: Final = (("run", "POST", "/run/predict", "200_gradio3_audio.json"),)
QUEUE: Final = (
    ("join", "POST", "/queue/join", "200_gradio_event_id.json"),
    ("stream", "GET", "/queue/data", "200_queue_audio.sse"),
)
CALL: Final = (
    ("join", "POST", "/call/predict", "200_gradio_event_id.json"),
    ("stream", "GET", "/call/predict/*", "200_call_audio.sse"),
)
"""Gradio's routes: the names of the steps, where they are, and what is said there."""


def gradio(version: str, prefix: str, route: Iterable[tuple[str, str, str, str]]) -> Shape:
    """Return a Gradio app: how it describes itself, the steps of a call, and the file that comes of it."""
    endpoint = {"parameters": [{"label": "Prompt", "parameter_name": "prompt"}, {"label": "Duration"}]}
    return Shape(
        "",
        {
            "config": Part("GET /config", said(gradio_config(prefix, version))),
            "info": Part(f"GET {prefix}/info", said({"named_endpoints": {"/predict": endpoint}})),
            **{step: Part(f"{method} {prefix}{path}", seen(name)) for step, method, path, name in route},
            "file": Part(f"GET {prefix}/file=*", seen("200_raw.wav")),
        },
    )


LARGE: Final = tone(10.0).content
"""Enough to be taken for large by whoever treats large answers in a way of their own, and within the limit."""

SHAPES: Final[Mapping[str, Shape]] = {
    "WAV": plain(seen("200_raw.wav")),
    "FLAC": plain(seen("200_raw.flac")),
    "base64": plain(seen("200_raw_base64.txt")),
    "base64, a JSON string": plain(seen("200_raw_base64_json_string.json")),
    "base64, an object": plain(seen("200_endpoint_base64.json")),
    "base64, Gradio's list": plain(seen("200_gradio_base64_text.json")),
    "data URL": plain(seen("200_raw_data_url.txt")),
    "data URL, Gradio's list": plain(seen("200_gradio_data_url_text.json")),
    "samples": plain(seen("200_endpoint_samples.json")),
    "WAV, large": plain(Good("audio/wav", LARGE)),
    "base64, large": plain(said({"audio": b64encode(LARGE).decode()})),
    "Gradio 3.50": gradio("3.50.2", "", RUN),
    "Gradio 4.44": gradio("4.44.1", "", QUEUE),
    "Gradio 5.50": gradio("5.50.0", "/gradio_api", QUEUE),
    "Gradio 6.31": gradio("6.31.0", "/gradio_api", QUEUE),
    "Gradio 6.31, /call": gradio("6.31.0", "/gradio_api", CALL),
}


# ---------------------------------------------------------------------- endpoints


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where callers ask for a piece.

    Attributes:
        path: Where to post.
        headers: Sent along.
        is_job: Whether that begins a job, which has its events, status and audio asked for afterwards.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_job: bool = True


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "answer": Endpoint("/studio-generate", is_job=False),
    "respond-async": Endpoint("/studio-generate", {"Prefer": "respond-async"}),
    "job": Endpoint("/api/jobs"),
}


# ---------------------------------------------------------------------- cells


@dataclass(frozen=True, slots=True)
class Place:
    """Where a toxic can bite: a step of a shape."""

    shape: str
    step: str

    @property
    def part(self) -> Part:
        return SHAPES[self.shape].parts[self.step]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix."""

    toxic: str
    place: Place
    endpoint: str

    def __str__(self) -> str:
        return f"{self.toxic} | {self.place.shape} | {self.place.step} | {self.endpoint}"

    @property
    def fate(self) -> Fate:
        return TOXICS[self.toxic].fate_at(self.place)

    @property
    def pairs(self) -> Iterator[tuple[object, object]]:
        """Yield the pairs of toxic, shape, step and endpoint."""
        named = {"toxic": self.toxic, "shape": self.place.shape, "step": self.place.step, "endpoint": self.endpoint}
        return itertools.combinations(named.items(), 2)


PLACES: Final = tuple(Place(shape, step) for shape, row in SHAPES.items() for step in row.parts)


def every_cell() -> tuple[Cell, ...]:
    return tuple(itertools.starmap(Cell, itertools.product(TOXICS, PLACES, ENDPOINTS)))


def pairwise(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return few of the cells in which every pair that the cells have occurs; always the same ones.

    Greedy: the next one is always one with the most pairs that have not occurred yet.
    """
    left = {cell: frozenset(cell.pairs) for cell in cells}
    missing = frozenset().union(*left.values())
    chosen: list[Cell] = []
    while missing:
        best = max(left, key=lambda cell: len(left[cell] & missing))
        missing -= left.pop(best)
        chosen.append(best)
    return tuple(chosen)


# ---------------------------------------------------------------------- putting cells to the test


MOST_SENT_BYTES: Final = 16 * 2**20
"""What an endless answer may get rid of in all its attempts: the size limit, and what sockets keep on their way."""

PRIVATE: Final = (TOKEN, "Bearer", "Traceback", "Oops", "/srv/", "/tmp/", "site-packages", "127.0.0.1", "</")  # noqa: S108
HEALTH_LIMIT_S: Final = 2.0


class Run:
    """A gunicorn and the cells that are put to the test against it, which is what its `with` block is for.

    Attributes:
        server: The gunicorn.
        at_rest_bytes: The most memory that it had before the first cell.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: Empty; for what gunicorn writes, and for the jobs.
        """
        environment = {**SETTINGS, "STUDIO_DATA_DIR": str(folder / "data")}
        self.server = Server(folder, "matrix_service:app", (), environment)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self.at_rest_bytes = 0

    def __enter__(self) -> Self:
        try:
            self.server.wait_until_up()
            self.server.wait_until_ready()
            self.at_rest_bytes = self.peak_bytes
        except BaseException:
            self.server.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.server.kill()

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process that serves has had so far."""
        (worker,) = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        status = Path(f"/proc/{worker}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def begin(self, cells: Iterable[Cell]) -> Mapping[Cell, Future[None]]:
        """Put the cells to the test, as many at the same time as is good; each future raises what was wrong."""
        return {cell: self._pool.submit(self._test, cell) for cell in cells}

    def _test(self, cell: Cell) -> None:
        shape, toxic = SHAPES[cell.place.shape], TOXICS[cell.toxic]
        healthy = {part.request: (part.good.whole,) for part in shape.parts.values()}
        with FaultyServer() as upstream:
            caller = Caller(self.server, ENDPOINTS[cell.endpoint], f"{upstream.port}{shape.path} {cell}")
            poison(upstream, healthy, cell.place, toxic)
            with ThreadPoolExecutor(1) as thread:
                asking = thread.submit(caller.ask)
                caller.check_health()
                told = asking.result()
            assert told == cell.fate, f"{told}, and not {cell.fate}"
            if toxic.play:
                asked = upstream.count(*cell.place.part.request.split(" "))
                assert asked == cell.fate.attempts, (
                    f"the upstream was asked {asked} times, and not {cell.fate.attempts}"
                )
            assert upstream.sent_bytes < MOST_SENT_BYTES, f"{upstream.sent_bytes} bytes were taken"
            caller.check_health()

            upstream.answers(healthy)
            if not toxic.play:
                upstream.listen()
            healed = caller.ask()
            assert healed == OK, f"the next call: {healed}"


def poison(upstream: FaultyServer, healthy: Mapping[str, Play], place: Place, toxic: Toxic) -> None:
    """Have the upstream do that at that step, and be well at all others."""
    here = place.part
    if toxic.play:
        upstream.answers({**healthy, here.request: toxic.play(here.good)})
        return
    steps = tuple(SHAPES[place.shape].parts.values())
    if here is steps[0]:
        upstream.refuse()
        return
    before = steps[steps.index(here) - 1]

    def last(_: Request) -> Play:
        upstream.refuse()
        good = before.good
        farewell = head(200, ("Connection", "close"), length=len(good.body), content_type=good.content_type)
        return (Send(farewell + good.body), Close())

    upstream.answers({**healthy, before.request: last})


class Caller:
    """Somebody who wants a piece, and holds every answer to the contract."""

    def __init__(self, server: Server, endpoint: Endpoint, prompt: str) -> None:
        self._server = server
        self._endpoint = endpoint
        self._body = json.dumps({"prompt": prompt, "duration": 5}).encode()

    def ask(self) -> Fate:
        """Ask for the piece, wait for it however the endpoint lets one wait, and return what it came to."""
        answer = self._request("POST", self._endpoint.path, self._body, self._endpoint.headers)
        if not self._endpoint.is_job:
            return self._fate_of(answer, attempts=answer.headers["Studio-Attempts"])
        assert answer.status == 202, answer.content
        return self._follow(answer.headers["Location"], request_id=answer.headers["X-Request-ID"])

    def check_health(self) -> None:
        for path in ("/health", "/ready"):
            answer = self._request("GET", path)
            assert answer.status == 200, answer.content
            assert answer.elapsed_s < HEALTH_LIMIT_S, f"{path} took {answer.elapsed_s:.1f} s"

    def _follow(self, location: str, *, request_id: str) -> Fate:
        job_id = location.rpartition("/")[2]
        stream = self._request("GET", f"/api/jobs/{job_id}/events", within_s=QUEUE_LIMIT_S + JOB_DEADLINE_S)
        events = stream.content.decode().strip().split("\n\n")
        job = self._request("GET", location).json
        audio = self._request("GET", f"/api/jobs/{job_id}/audio")
        assert events[-1] == f"event: end\ndata: {json.dumps({'status': job['status']})}", events[-1]
        took = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["started_at"])
        assert took.total_seconds() < JOB_DEADLINE_S + 1.0, f"the job took {took}"
        if job["status"] == "succeeded":
            return self._fate_of(audio, attempts=job["attempt"])
        assert job["status"] == "failed", job["status"]
        assert (audio.status, audio.json["code"]) == (409, "no-result")
        assert job["retryable"] is job["error"]["retryable"]
        assert job["error"]["attempts"] == job["attempt"]
        return fate_told_by(job["error"], request_id)

    def _fate_of(self, answer: Answer, *, attempts: str | int | None) -> Fate:
        if answer.status != 200:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json["status"] == answer.status
            return fate_told_by(answer.json, answer.headers["X-Request-ID"])
        audio = prove(answer.content)
        assert answer.headers["Content-Type"] == audio.media_type
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        return Fate("ok", int(attempts or 0))

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = JSON,
        *,
        within_s: float = DEADLINE_S,
    ) -> Answer:
        request_id = secrets.token_hex(8)
        headers = {**JSON, **headers, "X-Request-ID": request_id}
        answer = self._server.request(method, path, body=body, headers=headers, timeout_s=2 * within_s)
        assert answer.elapsed_s < within_s + 1.0, f"{path} took {answer.elapsed_s:.1f} s"
        assert answer.headers["X-Request-ID"] == request_id
        told = f"{answer.headers}{answer.content.decode('latin-1')}"
        for private in PRIVATE:
            assert private not in told, f"{path} tells {private!r}"
        return answer


def fate_told_by(problem: Mapping[str, Any], request_id: str) -> Fate:
    """Return what a problem says, which must be what the catalogue says of its code."""
    assert problem["code"] in ROWS, f"{problem['code']} is nothing that an upstream can do"
    row = ROWS[problem["code"]]
    assert (problem["status"], problem["title"], problem["retryable"]) == (row.status, row.title, row.retryable)
    assert problem["request_id"] == request_id
    assert 0 < len(problem["detail"]) <= 300
    return Fate(problem["code"], problem["attempts"])


# ---------------------------------------------------------------------- the page

PAGE: Final = ROOT / "docs" / "faults.md"

_PAGE: Final = """\
# Faults

<!-- Made from tests/real/matrix.py by `make fault-matrix`; edit it there. -->

What callers get when the upstream misbehaves: {toxics} toxics, at each of the {places} steps in which upstreams of
{shapes} shapes answer, asked through {endpoints} endpoints: `POST /studio-generate`, the same with
`Prefer: respond-async`, and `POST /api/jobs`, the latter two with the job's status, events and audio. These are {cells}
cells. `make fault-matrix` puts all of them to the test against a real server, and writes this page when each has come
out as it says here; the tests run {compressed} of them, in which every pair of toxic, shape, step and endpoint occurs.

All cells share one server. The breaker would open for all of them at once and the retry budget soon be spent, so both
are out of the way here: after failures in a row, callers get `upstream-unavailable` at once instead of what the table
says, and when nearly everything fails, most of it is not repeated ([design.md](design.md)).

In every cell

- caller and job get the status and the code of the table, with the title and the `retryable` of [errors.md](errors.md),
  and with nothing of the upstream's words, paths and addresses, nor of our token;
- a 200 is audio that was proven to play;
- the upstream is asked once, or twice where the table says × 2: `HF_ATTEMPTS` and `STUDIO_JOB_ATTEMPTS` are 2 here, and
  what another attempt cannot mend is not repeated;
- the answer leaves within `STUDIO_DEADLINE_S` and a second, with the request's id; a job ends within
  `STUDIO_JOB_DEADLINE_S` and a second;
- `/health` and `/ready` answer meanwhile and afterwards;
- whatever is sent without an end is left after {limit} MiB at most, in all attempts;
- the next call, to the same upstream that is well again, gets its audio at the first attempt.

## Toxics

{toxic_table}

## What comes of them

A column stands for all shapes and steps that are in its head; a step in italics means that of all Gradio apps that have
it.

{fate_table}

## Shapes

{shape_table}
"""


def page() -> str:
    """Return the text of `docs/faults.md`."""
    columns: dict[tuple[Fate, ...], list[Place]] = {}
    for place in PLACES:
        columns.setdefault(tuple(toxic.fate_at(place) for toxic in TOXICS.values()), []).append(place)
    return _PAGE.format(
        toxics=len(TOXICS),
        places=len(PLACES),
        shapes=len(SHAPES),
        endpoints=len(ENDPOINTS),
        cells=len(every_cell()),
        compressed=len(pairwise(every_cell())),
        limit=MOST_SENT_BYTES >> 20,
        toxic_table=_table(
            ("toxic", "what the upstream does", "what the caller sees"),
            ((name, toxic.does, toxic.seen) for name, toxic in TOXICS.items()),
        ),
        fate_table=_table(
            ("toxic", *map(_head, columns.values())),
            ((name, *map(str, fates)) for name, fates in zip(TOXICS, zip(*columns, strict=True), strict=True)),
        ),
        shape_table=_table(
            ("shape", "steps"),
            (
                (name, ", ".join(f"{step} `{part.request}`" for step, part in shape.parts.items()))
                for name, shape in SHAPES.items()
            ),
        ),
    )


def _head(places: Sequence[Place]) -> str:
    """Return the head of the column of these places."""
    shapes_by_step: dict[str, list[str]] = {}
    for place in places:
        shapes_by_step.setdefault(place.step, []).append(place.shape)
    return " · ".join(itertools.starmap(_head_of_step, shapes_by_step.items()))


def _head_of_step(step: str, shapes: Sequence[str]) -> str:
    if step == ONLY_STEP:
        return " · ".join(shapes)
    is_everywhere = all(step not in row.parts or name in shapes for name, row in SHAPES.items())
    return f"*{step}*" if is_everywhere else f"*{step}* of {', '.join(shapes)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
