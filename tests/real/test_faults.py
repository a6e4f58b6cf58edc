"""What callers get when the upstream misbehaves, with a real server that really does.

Each test drives the whole service in-process against `faults.FaultyServer` and holds each
answer to the contract: the right problem, in time, without a secret, and the next request
to a healthy upstream succeeds on the same application.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import gzip
import json
import logging
import math
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
from fakes import tone
from flask.testing import FlaskClient
from real.faults import (
    AUDIO_PATH,
    EVENT_ID,
    NOT_FOUND,
    Answer,
    Close,
    Drip,
    FaultyServer,
    Gradio,
    Repeat,
    Reply,
    Request,
    Reset,
    Routes,
    Send,
    Wait,
    answer,
    chunked,
    events,
    gradio_config,
    gradio_failure,
    gradio_file,
    gradio_messages,
    head,
    play_plain,
    redirect,
    web_page,
)
from real.programs import wait_for
from werkzeug.datastructures import Headers

from app import create_app
from app.audio import AUDIO_FORMATS, Audio, AudioFormat, prove, transcode
from app.errors import EngineError, catalogue
from app.settings import Settings

pytestmark = pytest.mark.real

TOKEN = "hf_PLANTEDsecretTOKEN123"
ASK = {"prompt": "calm piano", "duration": 5}
SHORT_S = 0.6
"""How long an attempt may take where time is what the test is about."""

TONE = tone(1.0)
SHORT_TONE = tone(0.6)


def wav_of(size: int) -> bytes:
    """Return a WAV of so many bytes."""
    frames = (size - 44) // 2
    samples = (TONE.content[44:] * (frames // 8_000 + 1))[: 2 * frames]
    sizes = (size - 8).to_bytes(4, "little"), (2 * frames).to_bytes(4, "little")
    return TONE.content[:4] + sizes[0] + TONE.content[8:40] + sizes[1] + samples


def base64_of(audio: Audio | bytes) -> str:
    return base64.b64encode(audio.content if isinstance(audio, Audio) else audio).decode()


PLAIN_OK = answer({"data": [base64_of(TONE)]})
GRADIO = Gradio(TONE.content)


# ---------------------------------------------------------------------- the service under test

ENGINE_ERRORS = {row.code(): row for row in catalogue() if issubclass(row, EngineError)}


@dataclass
class Outcome:
    """What the caller got."""

    status: int
    headers: Headers
    body: bytes
    elapsed_s: float

    @property
    def problem(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def code(self) -> str:
        return "ok" if self.status == 200 else str(self.problem["code"])

    @property
    def retry_after(self) -> int | None:
        return int(self.headers["Retry-After"]) if "Retry-After" in self.headers else None

    @property
    def attempts(self) -> int:
        return int(self.headers["Studio-Attempts"]) if self.status == 200 else int(str(self.problem["attempts"]))


@dataclass
class Caller:
    """One application and what it answers, each answer held to the contract."""

    client: FlaskClient
    deadline_s: float
    seen: list[str] = field(default_factory=list)

    def generate(self, **fields: object) -> Outcome:
        started_s = time.monotonic()
        response = self.client.post("/studio-generate", json={**ASK, **fields})
        outcome = Outcome(response.status_code, response.headers, response.data, time.monotonic() - started_s)
        assert outcome.elapsed_s < self.deadline_s + 1.0
        self.seen.append(f"{response.status} {response.headers} {response.data.decode('latin-1')}")
        if outcome.status == 200:
            audio = prove(outcome.body)
            assert response.mimetype == audio.media_type
            assert int(response.headers["Content-Length"]) == len(outcome.body)
            assert response.headers["Studio-Duration"] == f"{audio.duration_s:.2f}"
        else:
            assert_is_problem(outcome)
        return outcome


def assert_is_problem(outcome: Outcome) -> None:
    problem, row = outcome.problem, ENGINE_ERRORS[outcome.code]
    assert outcome.headers["Content-Type"] == "application/problem+json"
    assert outcome.status == problem["status"] == row.status
    assert problem["retryable"] is row.retryable
    assert problem["title"] == problem["error"] == row.title
    assert outcome.retry_after == problem.get("retry_after")
    if not row.retryable:
        assert outcome.retry_after is None
    detail = str(problem["detail"])
    assert 0 < len(detail) <= 300
    for private in ("Traceback", "/tmp/", "/home/", "site-packages", "<", "127.0.0.1", "Bearer"):  # noqa: S108
        assert private not in detail


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those behind it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]


def shown_by(error: BaseException) -> str:
    return f"{error!s} {error!r} {error.args!r} {vars(error)!r}"


def errors_in(records: list[logging.LogRecord]) -> Iterator[BaseException]:
    """Yield the exceptions that were handed to the log."""
    for record in records:
        error = record.msg.get("exc_info") if isinstance(record.msg, dict) else (record.exc_info or (None, None))[1]
        if isinstance(error, BaseException):
            yield error


@pytest.fixture
def upstream() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[FaultyServer]:
    """Another origin, which serves audio to whoever asks, and must never be asked."""
    everything = answer(TONE.content, content_type="audio/wav")
    with FaultyServer({f"{method} /*": everything for method in ("GET", "POST", "HEAD", "PUT")}) as server:
        yield server
        assert server.requests == []


MakeCaller = Callable[..., Caller]


@pytest.fixture
def call(
    upstream: FaultyServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[MakeCaller]:
    """Return `make(path, **settings)`; in the end the token is looked for in all that was answered or logged.

    The log's records are searched before they are written, too, when nothing has blotted them yet.
    """
    callers: list[Caller] = []

    def make(path: str = "/run/predict", *, server: FaultyServer = upstream, **settings: object) -> Caller:
        chosen = Settings.model_validate(
            {
                "engine": "huggingface",
                "hf_api_url": server.url + path,
                "hf_token": TOKEN,
                "hf_timeout_s": 8,
                "deadline_s": 10,
                "hf_attempts": 1,
                "hf_backoff_s": 0,
                "log_level": "DEBUG",
                **settings,
            }
        )
        callers.append(Caller(create_app(chosen).test_client(), chosen.deadline_s))
        return callers[-1]

    yield make
    written = capsys.readouterr()
    assert '"event": "request"' in written.out, "the log was not captured"
    for caller in callers:
        for text in caller.seen:
            assert TOKEN not in text
    records = caplog.get_records("call")
    raw_lines = [f"{record.msg!r} {record.args!r}" for record in records]
    for text in (written.out, written.err, *raw_lines, *map(shown_by, errors_in(records))):
        assert TOKEN not in text


# ---------------------------------------------------------------------- the server itself


def raw(server: FaultyServer, method: str, path: str) -> requests.Response:
    return requests.request(method, server.url + path, timeout=5, stream=True)


def test_the_server_answers_in_turn_and_tells_what_it_was_asked(upstream: FaultyServer) -> None:
    upstream.answers({"POST /a": [answer({"n": 1}), answer({"n": 2}, 503)], "GET /b*": lambda it: answer(it.target)})
    with requests.Session() as session:
        first = session.post(f"{upstream.url}/a", json={"x": 1}, headers={"X-One": "1"}, timeout=5)
        others = [session.post(f"{upstream.url}/a", timeout=5) for _ in range(2)]
        echoed = session.get(f"{upstream.url}/bc?d=e", timeout=5)
        missing = session.get(f"{upstream.url}/a", timeout=5)
    assert (first.status_code, first.json()) == (200, {"n": 1})
    assert [(each.status_code, each.json()) for each in others] == [(503, {"n": 2})] * 2
    assert (echoed.text, missing.status_code) == ("/bc?d=e", 404)
    assert (upstream.count("POST", "/a"), upstream.count("GET")) == (3, 2)
    assert (upstream.requests[0].json, upstream.requests[0].headers["x-one"]) == ({"x": 1}, "1")


def test_the_server_resets_cuts_drips_and_refuses(upstream: FaultyServer) -> None:
    upstream.answers(
        {
            "GET /reset": (Reset(),),
            "GET /cut": (Send(head(length=10) + b"12345"), Close()),
            "GET /drip": (Drip(head(length=2) + b"ok", every_s=0.001),),
            "GET /endless": (Send(head()), Repeat(bytes(65_536))),
        }
    )
    with pytest.raises(requests.ConnectionError):
        raw(upstream, "GET", "/reset")
    with raw(upstream, "GET", "/cut") as cut, pytest.raises(requests.exceptions.ChunkedEncodingError):
        assert cut.content == b""
    with raw(upstream, "GET", "/drip") as dripped:
        assert dripped.content == b"ok"
    with raw(upstream, "GET", "/endless") as endless:
        assert len(endless.raw.read(2**20)) == 2**20
    upstream.refuse()
    with pytest.raises(requests.ConnectionError):
        raw(upstream, "GET", "/drip")
    upstream.listen()
    with raw(upstream, "GET", "/drip") as again:
        assert again.content == b"ok"


def test_the_server_ends_its_threads_while_clients_still_wait() -> None:
    with FaultyServer({"GET /": (Wait(),), "GET /drip": (Send(head()), Repeat(b"x", every_s=0.01))}) as server:
        waiting = pytest.raises(requests.Timeout)
        with waiting:
            requests.get(server.url, timeout=0.05)
        dripping = raw(server, "GET", "/drip")
        started_s = time.monotonic()
    dripping.close()
    assert time.monotonic() - started_s < 2.0


# ---------------------------------------------------------------------- health


def test_a_healthy_plain_server_is_asked_for_its_config_once(upstream: FaultyServer, call: MakeCaller) -> None:
    upstream.answers(play_plain(PLAIN_OK))
    caller = call()
    assert [caller.generate().code for _ in range(3)] == ["ok"] * 3
    assert (upstream.count("GET", "/config"), upstream.count("POST", "/run/predict")) == (1, 3)
    assert upstream.requests[1].json == {"data": ["calm piano", 5]}
    assert {each.headers["authorization"] for each in upstream.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("prefix", ["", "/gradio_api"])
def test_a_healthy_gradio_app_gets_the_token_on_each_request(
    upstream: FaultyServer, call: MakeCaller, prefix: str
) -> None:
    upstream.answers(Gradio(TONE.content, prefix=prefix).routes)
    assert call("").generate().code == "ok"
    asked = [(each.method, each.path) for each in upstream.requests if each.path != f"{prefix}/info"]
    assert asked == [
        ("GET", "/config"),
        ("POST", f"{prefix}/queue/join"),
        ("GET", f"{prefix}/queue/data"),
        ("GET", f"{prefix}/file={AUDIO_PATH}"),
    ]
    assert {each.headers["authorization"] for each in upstream.requests} == {f"Bearer {TOKEN}"}


WAVE = [round(0.5 * math.sin(at / 9), 4) for at in range(8_000)]
ENDPOINT_OK = {"audio": [[WAVE]], "sampling_rate": 8_000}


def endpoint(reply: Reply) -> Callable[[Request], Answer]:
    """Return a reply that wants `inputs` in the body, as an Inference Endpoint does."""

    def respond(request: Request) -> Answer:
        body = request.json
        if not (isinstance(body, dict) and "inputs" in body):
            return answer({"error": "Body needs to provide a inputs key, received: ..."}, 400)
        return reply(request) if callable(reply) else reply

    return respond


@pytest.mark.parametrize(
    "body",
    [
        ENDPOINT_OK,
        [ENDPOINT_OK],
        {"audio": WAVE, "sampling_rate": 8_000},
        [{"generated_audio": [WAVE * 4]}],
        {"generated_audio": WAVE, "sampling_rate": 8_000},
        {"audio": [[[None, *WAVE]]], "sampling_rate": 8_000},
        {"audio": base64_of(TONE), "content-type": "audio/wav"},
    ],
    ids=["batch", "list", "one-dimensional", "blog handler", "custom handler", "null for NaN", "base64"],
)
def test_a_healthy_endpoint_is_understood(upstream: FaultyServer, call: MakeCaller, body: object) -> None:
    upstream.answers({"POST /": endpoint(answer(body))})
    assert call("/").generate().code == "ok"


@pytest.mark.parametrize("format", AUDIO_FORMATS)
def test_raw_audio_of_any_container_becomes_what_was_asked_for(
    upstream: FaultyServer, call: MakeCaller, format: AudioFormat
) -> None:
    for container in AUDIO_FORMATS:
        upstream.answers(play_plain(answer(transcode(TONE, container).content, content_type="text/plain")))
        outcome = call().generate(format=format)
        assert (outcome.code, prove(outcome.body).format) == ("ok", format)


# ---------------------------------------------------------------------- faults on the wire


@dataclass(frozen=True)
class Wire:
    """A fault below HTTP.

    Attributes:
        play: Makes the fault out of a good answer.
        codes: Which errors describe it; the first one does best.
        is_repeated: Whether a second attempt is made; None where the contract leaves it open.
        takes_time: Only a time limit ends it.
        harmless_in: Where it does no harm: an event stream may break once the result is there.
    """

    play: Callable[[bytes], Answer]
    codes: tuple[str, ...]
    is_repeated: bool | None = None
    takes_time: bool = False
    harmless_in: str = ""


def parts(good: bytes) -> tuple[bytes, bytes]:
    at = good.index(b"\r\n\r\n") + 4
    return good[:at], good[at:]


def body_of(good: bytes) -> bytes:
    """Return the body without its chunks."""
    headers, body = parts(good)
    if b"chunked" not in headers:
        return body
    return b"".join(body.split(b"\r\n")[1::2])


def content_type_of(good: bytes) -> bytes:
    """Return the line of the header."""
    return next(line for line in parts(good)[0].split(b"\r\n") if line.startswith(b"Content-Type"))


def with_length(good: bytes, length: object) -> bytes:
    kind = content_type_of(good)
    return b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %s\r\n\r\n" % (kind, str(length).encode()) + body_of(good)


def first_half(good: bytes) -> bytes:
    headers, body = parts(good)
    return headers + body[: len(body) // 2]


def in_chunks(good: bytes, ending: bytes) -> bytes:
    body = body_of(good)
    kind = content_type_of(good)
    start = b"HTTP/1.1 200 OK\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
    return start + b"%x\r\n%s\r\n" % (len(body) // 2, body[: len(body) // 2]) + ending


PAUSE = Wait(0.03)
"""Lets the client read what was sent before the connection is aborted."""

UNAVAILABLE, TIMEOUT, BAD, FAILED, REJECTED, REFUSED_PROMPT = (
    "upstream-unavailable",
    "upstream-timeout",
    "upstream-bad-response",
    "upstream-error",
    "upstream-rejected",
    "prompt-refused",
)

WIRE = {
    "reset before headers": Wire(lambda _: (Reset(),), (UNAVAILABLE,), True),
    "closed before headers": Wire(lambda _: (Close(),), (UNAVAILABLE, BAD), True),
    "reset within status line": Wire(lambda good: (Send(good[:7]), PAUSE, Reset()), (UNAVAILABLE, BAD), True),
    "reset within headers": Wire(lambda good: (Send(good[:30]), PAUSE, Reset()), (UNAVAILABLE, BAD), True),
    "closed within status line": Wire(lambda good: (Send(good[:7]), Close()), (UNAVAILABLE, BAD)),
    "closed within headers": Wire(lambda good: (Send(good[:30]), Close()), (BAD, UNAVAILABLE)),
    "closed after headers": Wire(lambda good: (Send(parts(good)[0]), Close()), (BAD,), True),
    "reset within body": Wire(lambda good: (Send(first_half(good)), PAUSE, Reset()), (BAD,), True),
    "closed within body": Wire(lambda good: (Send(first_half(good)), Close()), (BAD,), True),
    "one byte is missing": Wire(
        lambda good: (Send(with_length(good, len(body_of(good)) + 1)), Close()), (BAD,), True, harmless_in="stream"
    ),
    "the last chunk is missing": Wire(lambda good: (Send(in_chunks(good, b"")), Close()), (BAD,), True),
    "a chunk is cut": Wire(lambda good: (Send(in_chunks(good, b"ffff\r\nabc")), Close()), (BAD,), True),
    "a chunk's size is no number": Wire(lambda good: (Send(in_chunks(good, b"lots\r\nabc")), Close()), (BAD,)),
    "reset within a chunk": Wire(lambda good: (Send(in_chunks(good, b"ffff\r\na")), PAUSE, Reset()), (BAD,), True),
    "silence": Wire(lambda _: (Wait(),), (TIMEOUT,), True, takes_time=True),
    "silence within headers": Wire(lambda good: (Send(good[:30]), Wait()), (TIMEOUT,), True, takes_time=True),
    "silence within body": Wire(lambda good: (Send(first_half(good)), Wait()), (TIMEOUT,), True, takes_time=True),
    "silence within a chunk": Wire(
        lambda good: (Send(in_chunks(good, b"ffff\r\na")), Wait()), (TIMEOUT,), True, takes_time=True
    ),
    "Content-Length too long": Wire(
        lambda good: (Send(with_length(good, len(body_of(good)) + 9)), Wait()),
        (TIMEOUT,),
        True,
        takes_time=True,
        harmless_in="stream",
    ),
    "headers dripped": Wire(lambda good: (Drip(good, every_s=0.03),), (TIMEOUT,), True, takes_time=True),
    "body dripped": Wire(
        lambda good: (Send(parts(good)[0]), Drip(parts(good)[1], every_s=0.03)), (TIMEOUT,), True, takes_time=True
    ),
    "endless headers, slowly": Wire(
        lambda _: (Send(b"HTTP/1.1 200 OK\r\n"), Repeat(b"X-More: 1\r\n", every_s=0.03)),
        (TIMEOUT,),
        True,
        takes_time=True,
    ),
    "endless 100 Continue": Wire(
        lambda _: (Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, every_s=0.005),),
        (TIMEOUT, BAD),
        None,
        takes_time=True,
    ),
    "endless headers": Wire(lambda _: (Send(b"HTTP/1.1 200 OK\r\n"), Repeat(b"X-More: 1\r\n" * 100)), (BAD,)),
    "an endless header": Wire(lambda _: (Send(b"HTTP/1.1 200 OK\r\nX-More: "), Repeat(b"x" * 1_000)), (BAD,)),
    "a header of 1 MB": Wire(
        lambda good: (Send(good.replace(b"\r\n", b"\r\nX-Big: " + b"x" * 2**20 + b"\r\n", 1)),), (BAD,)
    ),
    "an endless status line": Wire(lambda _: (Send(b"HTTP/1.1 200 "), Repeat(b"O" * 1_000)), (BAD,)),
    "random bytes": Wire(lambda _: (Send(bytes(range(256)) * 4), Close()), (BAD,)),
    "a web page without HTTP": Wire(lambda _: (Send(b"<html><body>hello</body></html>\r\n"), Close()), (BAD,)),
    "another protocol": Wire(lambda _: (Send(b"SSH-2.0-OpenSSH_9.6\r\n"), Wait(5)), (BAD,)),
    "a TLS alert": Wire(lambda _: (Send(b"\x15\x03\x01\x00\x02\x02\x46"), Close()), (BAD, UNAVAILABLE)),
    "status is no number": Wire(lambda _: (Send(b"HTTP/1.1 OK OK\r\n\r\n"), Close()), (BAD,)),
    "status out of range": Wire(lambda _: (Send(b"HTTP/1.1 9999 OK\r\n\r\n"), Close()), (BAD,)),
}


@dataclass(frozen=True)
class Place:
    """Where in a conversation something goes wrong.

    Attributes:
        path: What `HF_API_URL` ends in.
        routes: Of the upstream, with the given reply in that place.
        good: The good answer there.
        request: Method and path of the request in question.
    """

    path: str
    routes: Callable[[Reply | list[Reply]], Routes]
    good: bytes
    request: tuple[str, str]


def sent(steps: Answer) -> bytes:
    (step,) = steps
    assert isinstance(step, Send)
    return step.data


FILE_OK = answer(SHORT_TONE.content, content_type="audio/wav")
STREAM_OK = events(*gradio_messages())
PLACES = {
    "post": Place("/run/predict", play_plain, sent(PLAIN_OK), ("POST", "/run/predict")),
    "config": Place(
        "",
        lambda reply: Gradio(TONE.content, config=reply).routes,
        sent(answer(gradio_config())),
        ("GET", "/config"),
    ),
    "join": Place(
        "",
        lambda reply: Gradio(TONE.content, join=reply).routes,
        sent(answer({"event_id": EVENT_ID})),
        ("POST", "/gradio_api/queue/join"),
    ),
    "stream": Place(
        "",
        lambda reply: Gradio(TONE.content, stream=reply).routes,
        sent(STREAM_OK),
        ("GET", "/gradio_api/queue/data"),
    ),
    "file": Place(
        "", lambda reply: Gradio(TONE.content, file=reply).routes, sent(FILE_OK), ("GET", "/gradio_api/file=*")
    ),
}


ALIKE = ("silence within headers", "silence within a chunk", "body dripped", "endless headers, slowly")
"""Slow faults that end in the same way as others; one of each kind is tried again."""


QUICK_FAULTS = [
    (fault, place)
    for fault, wire in WIRE.items()
    for place in PLACES
    if not wire.takes_time and place != wire.harmless_in
]


def assert_told_and_healed(server: FaultyServer, caller: Caller, wire: Wire, there: Place) -> None:
    server.answers(there.routes(wire.play(there.good)))
    outcome = caller.generate()
    assert outcome.code in wire.codes
    assert outcome.elapsed_s < SHORT_S + 1.0
    assert server.count(*there.request) <= 1
    server.answers(there.routes((Send(there.good),)))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize(("fault", "place"), QUICK_FAULTS)
def test_a_fault_on_the_wire_is_told_and_leaves_no_damage(
    upstream: FaultyServer, call: MakeCaller, fault: str, place: str
) -> None:
    caller = call(PLACES[place].path)
    assert_told_and_healed(upstream, caller, WIRE[fault], PLACES[place])


@pytest.mark.parametrize("fault", [name for name, wire in WIRE.items() if wire.takes_time])
def test_a_slow_fault_on_the_wire_is_told_in_time_and_leaves_no_damage(call: MakeCaller, fault: str) -> None:
    """In all places at once, since all of it is waiting."""
    wire = WIRE[fault]
    places = [place for name, place in PLACES.items() if name != wire.harmless_in]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FaultyServer()) for _ in places]
        callers = [
            call(place.path, server=server, hf_timeout_s=SHORT_S, deadline_s=1)
            for place, server in zip(places, servers, strict=True)
        ]
        threads = stack.enter_context(ThreadPoolExecutor(len(places)))
        list(threads.map(assert_told_and_healed, servers, callers, [wire] * len(places), places))


@pytest.mark.parametrize("fault", [name for name, wire in WIRE.items() if wire.is_repeated and name not in ALIKE])
def test_what_may_be_the_wire_s_fault_is_tried_again(upstream: FaultyServer, call: MakeCaller, fault: str) -> None:
    wire = WIRE[fault]
    caller = call(hf_attempts=3, **({"hf_timeout_s": SHORT_S} if wire.takes_time else {}))
    upstream.answers(play_plain([wire.play(sent(PLAIN_OK)), PLAIN_OK]))
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts, upstream.count("POST")) == ("ok", 2, 2)


@pytest.mark.parametrize("place", ["config", "join", "stream", "file"])
@pytest.mark.parametrize("fault", ["reset before headers", "closed within body"])
def test_each_step_of_a_gradio_call_is_tried_again(
    upstream: FaultyServer, call: MakeCaller, fault: str, place: str
) -> None:
    there = PLACES[place]
    caller = call(there.path, hf_attempts=2)
    upstream.answers(there.routes([WIRE[fault].play(there.good), (Send(there.good),)]))
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == ("ok", 2)


@pytest.mark.parametrize("attempts", [1, 3])
def test_refused_connections_are_tried_again(upstream: FaultyServer, call: MakeCaller, attempts: int) -> None:
    caller = call(hf_attempts=attempts)
    upstream.refuse()
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == (UNAVAILABLE, attempts)
    upstream.listen()
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


def test_connections_refused_after_a_good_start_are_told_and_healed(upstream: FaultyServer, call: MakeCaller) -> None:
    """The kept connection is gone, too: the first request after that must not trip over it."""
    for path, routes in (("/run/predict", play_plain(PLAIN_OK)), ("", GRADIO.routes)):
        caller = call(path)
        upstream.answers(routes)
        assert caller.generate().code == "ok"
        upstream.refuse()
        upstream.hang_up()
        assert caller.generate().code == UNAVAILABLE
        upstream.listen()
        assert caller.generate().code == "ok"


@pytest.mark.parametrize("place", ["config", "join", "stream"])
def test_connections_refused_in_the_middle_of_a_call_are_told_and_healed(
    upstream: FaultyServer, call: MakeCaller, place: str
) -> None:
    """The answer of `place` still comes; the connection for the request after it is refused."""

    def last(_: Request) -> Answer:
        upstream.refuse()
        return (Send(PLACES[place].good.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)), Close())

    caller = call("")
    upstream.answers(PLACES[place].routes(last))
    assert caller.generate().code == UNAVAILABLE
    upstream.listen()
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(upstream: FaultyServer, call: MakeCaller) -> None:
    caller = call()
    upstream.answers(play_plain((*PLAIN_OK, Wait(0.01), Close())))
    assert caller.generate().code == "ok"
    wait_for(lambda: upstream.open_connections == 0)
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == ("ok", 1)


@pytest.mark.parametrize("surplus", [b"x", sent(answer({"error": "smuggled"})), bytes(100_000)])
@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_bytes_after_the_promised_end_do_not_reach_the_next_request(
    upstream: FaultyServer, call: MakeCaller, surplus: bytes, pause_s: float
) -> None:
    caller = call()
    replies = (*PLAIN_OK, Wait(pause_s), Send(surplus)) if pause_s else (*PLAIN_OK, Send(surplus))
    upstream.answers(play_plain(replies))
    assert caller.generate().code == "ok"
    # HTTP/1.1 cannot tell bytes that come after the next request was sent from its answer: these are there before.
    expected_bytes = len(sent(NOT_FOUND) + sent(PLAIN_OK) + surplus)
    wait_for(lambda: upstream.sent_bytes == expected_bytes)
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("place", PLACES)
def test_a_content_length_that_is_too_short_cuts_the_answer(
    upstream: FaultyServer, call: MakeCaller, place: str
) -> None:
    there = PLACES[place]
    caller = call(there.path)
    upstream.answers(there.routes((Send(with_length(there.good, len(body_of(there.good)) // 2)),)))
    assert caller.generate().code == BAD
    upstream.answers(there.routes((Send(there.good),)))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("length", ["-1", "lots", "1e3", "99999999999999999999", "5, 6"])
def test_an_impossible_content_length_is_survived(upstream: FaultyServer, call: MakeCaller, length: str) -> None:
    caller = call()
    upstream.answers(play_plain((Send(with_length(sent(PLAIN_OK), length)), Close())))
    assert caller.generate().code in ("ok", BAD)
    with warnings.catch_warnings():
        # urllib3 refuses two lengths after it has taken over the socket, which it leaves to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


def test_a_body_that_just_ends_needs_no_length(upstream: FaultyServer, call: MakeCaller) -> None:
    upstream.answers(play_plain((Send(head() + body_of(sent(PLAIN_OK))), Close())))
    assert call().generate().code == "ok"


def test_a_deadline_holds_over_all_attempts_of_a_dripping_upstream(upstream: FaultyServer, call: MakeCaller) -> None:
    caller = call(hf_timeout_s=0.6, deadline_s=1, hf_attempts=10)
    upstream.answers(play_plain((Drip(sent(PLAIN_OK), every_s=0.05),)))
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == (TIMEOUT, 1)


@pytest.mark.parametrize("cancel", [(Wait(),), (Drip(b"HTTP/1.1 200 OK\r\nX: y", every_s=0.05), Wait())])
def test_the_deadline_holds_though_cancelling_hangs_as_well(
    upstream: FaultyServer, call: MakeCaller, cancel: Answer
) -> None:
    caller = call("", hf_timeout_s=SHORT_S, deadline_s=1)
    heartbeats = (Send(STREAM_HEAD), Repeat(HEARTBEAT, every_s=0.02))
    upstream.answers(Gradio(TONE.content, stream=heartbeats, cancel=cancel).routes)
    outcome = caller.generate()
    assert outcome.code == TIMEOUT  # and within the second that the deadline grants, which `generate` sees to


# ---------------------------------------------------------------------- event streams

HEARTBEAT = chunked(b'data: {"msg":"heartbeat","event_id":null}\n\n', ends=False).partition(b"\r\n\r\n")[2]
STREAM_HEAD = head(200, ("Transfer-Encoding", "chunked"), content_type="text/event-stream")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def said(*messages: object) -> Answer:
    """Return a whole stream with these messages instead of a job's."""
    return events(*messages)


def completed(output: object, success: object = True) -> Answer:
    return events(*gradio_messages(completed={"output": output, "success": success}))


def test_endless_heartbeats_end_with_the_attempt(upstream: FaultyServer, call: MakeCaller) -> None:
    caller = call("", hf_timeout_s=SHORT_S, deadline_s=1)
    upstream.answers(Gradio(TONE.content, stream=(Send(STREAM_HEAD), Repeat(HEARTBEAT, every_s=0.01))).routes)
    outcome = caller.generate()
    assert outcome.code == TIMEOUT
    assert outcome.elapsed_s < SHORT_S + 1.0
    assert upstream.count("POST", "/gradio_api/cancel") == 1
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


def test_heartbeats_at_full_speed_end_with_the_attempt_and_take_no_memory(
    upstream: FaultyServer, call: MakeCaller
) -> None:
    caller = call("", hf_timeout_s=SHORT_S, deadline_s=1)
    upstream.answers(Gradio(TONE.content, stream=(Send(STREAM_HEAD), Repeat(HEARTBEAT * 1_000))).routes)
    with peak_memory() as peak_bytes:
        outcome = caller.generate()
    assert outcome.code == TIMEOUT
    assert outcome.elapsed_s < SHORT_S + 1.0
    assert peak_bytes() < 8 * 2**20


def test_a_stream_that_falls_silent_is_given_up(upstream: FaultyServer, call: MakeCaller) -> None:
    """The silence limit ends it long before the attempt's own."""
    caller = call("", hf_silence_timeout_s=SHORT_S)
    upstream.answers(Gradio(TONE.content, stream=(Send(STREAM_HEAD + HEARTBEAT), Wait())).routes)
    outcome = caller.generate()
    assert outcome.code == TIMEOUT
    assert outcome.elapsed_s < SHORT_S + 1.0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_stream_cut_before_its_result_is_tried_again(upstream: FaultyServer, call: MakeCaller, share: float) -> None:
    headers, stream = parts(sent(STREAM_OK))
    at = int(share * stream.index(b"\n\n", stream.index(b"process_completed")))
    caller = call("", hf_attempts=2)
    upstream.answers(Gradio(TONE.content, stream=[(Send(headers + stream[:at]), Close()), STREAM_OK]).routes)
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == ("ok", 2)


def test_a_stream_that_ends_in_good_order_without_a_result_is_tried_again(
    upstream: FaultyServer, call: MakeCaller
) -> None:
    caller = call("", hf_attempts=2)
    upstream.answers(Gradio(TONE.content, stream=said(*gradio_messages()[:2])).routes)
    outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == (BAD, 2)


def test_a_result_counts_though_the_stream_is_cut_right_after_it(upstream: FaultyServer, call: MakeCaller) -> None:
    upstream.answers(Gradio(TONE.content, stream=events(*gradio_messages()[:3], ends=False)).routes)
    assert call("").generate().code == "ok"


def test_an_event_of_several_megabytes_in_one_line_is_read_in_time(upstream: FaultyServer, call: MakeCaller) -> None:
    content = wav_of(7 * 2**20)
    line = "data:audio/wav;base64," + base64_of(content)
    upstream.answers(Gradio(b"", stream=said(*gradio_messages(line))).routes)
    outcome = call("").generate()
    assert (outcome.code, outcome.body) == ("ok", content)
    assert outcome.elapsed_s < 2.0


@pytest.mark.parametrize("line", [b"data: ", b"", b": a comment "])
def test_a_line_without_end_stops_at_the_cap(upstream: FaultyServer, call: MakeCaller, line: bytes) -> None:
    caller = call("", max_audio_bytes=2**20)
    endless = (Send(STREAM_HEAD + chunk(line)), Repeat(chunk(b"x" * 65_536)))
    upstream.answers(Gradio(TONE.content, stream=endless).routes)
    with peak_memory() as peak_bytes:
        assert caller.generate().code == BAD
    assert peak_bytes() < 16 * 2**20
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


def test_an_event_of_endless_lines_stops_at_the_cap(upstream: FaultyServer, call: MakeCaller) -> None:
    caller = call("", max_audio_bytes=2**20)
    endless = (Send(STREAM_HEAD), Repeat(chunk(b"data: " + b"x" * 50_000 + b"\n")))
    upstream.answers(Gradio(TONE.content, stream=endless).routes)
    with peak_memory() as peak_bytes:
        assert caller.generate().code == BAD
    assert peak_bytes() < 16 * 2**20


def test_an_event_of_endless_empty_lines_of_data_stops_at_the_cap_or_in_time(
    upstream: FaultyServer, call: MakeCaller
) -> None:
    """Lines without content must cost memory neither."""
    caller = call("", max_audio_bytes=2**20, hf_timeout_s=SHORT_S, deadline_s=1)
    upstream.answers(Gradio(TONE.content, stream=(Send(STREAM_HEAD), Repeat(chunk(b"data:\n" * 10_000)))).routes)
    with peak_memory() as peak_bytes:
        assert caller.generate().code in (BAD, TIMEOUT)
    assert peak_bytes() < 32 * 2**20


STREAM_LIES: Mapping[str, tuple[Answer, str]] = {
    "no event stream": (answer({"msg": "process_completed"}), BAD),
    "a web page": (web_page(), BAD),
    "empty": (events(), BAD),
    "not JSON": (said("{msg:"), BAD),
    "deep nesting": (said("[" * 100_000 + "]" * 100_000), BAD),
    "a list": (said([1, 2], *gradio_messages()), "ok"),
    "null": (said(None, *gradio_messages()), "ok"),
    "unknown messages": (said({"msg": "party"}, {"msg": 5}, {}, *gradio_messages()), "ok"),
    "nonsense about the queue": (
        said(
            {"msg": "estimation", "rank": "first", "rank_eta": "soon"},
            {"msg": "progress", "progress_data": "much"},
            {"msg": "progress", "progress_data": [{"index": "a", "length": 0, "progress": 7e300, "desc": 5}]},
            {"msg": "log", "log": {"a": 1}},
            {"msg": "process_starts", "eta": []},
            *gradio_messages(),
        ),
        "ok",
    ),
    "no output": (completed(None), BAD),
    "output is text": (completed("x"), BAD),
    "no data": (completed({}), BAD),
    "data is null": (completed({"data": None}), BAD),
    "data is text": (completed({"data": "UklGR"}), BAD),
    "data is an object": (completed({"data": {"path": AUDIO_PATH}}), BAD),
    "data is empty": (completed({"data": []}), BAD),
    "data is nulls": (completed({"data": [None, None]}), BAD),
    "an update of nothing": (completed({"data": [{"__type__": "update"}]}), BAD),
    "path is a number": (completed({"data": [gradio_file(5)]}), BAD),
    "path is empty": (completed({"data": [gradio_file("")]}), BAD),
    "path is a list": (completed({"data": [gradio_file(["a"])]}), BAD),
    "path with a NUL": (completed({"data": [gradio_file("/tmp/\0a.wav")]}), BAD),  # noqa: S108
    "path with line breaks": (completed({"data": [gradio_file("/a\r\nX-Evil: 1\r\n\r\n.wav")]}), BAD),
    "path of half an emoji": (completed({"data": [gradio_file("/a\ud83c.wav")]}), BAD),
    "path of 1 MB": (completed({"data": [gradio_file("/" + "a" * 2**20)]}), BAD),
    "success is text": (completed({"data": [gradio_file()]}, "yes"), "ok"),
    "failed without a word": (gradio_failure(None), FAILED),
    "failed with a number": (completed({"error": 5}, False), FAILED),
    "failed with an object": (completed({"error": {"a": [None]}}, False), FAILED),
    "failed without output": (completed(None, False), FAILED),
    "session lost": (
        said({"msg": "unexpected_error", "message": "Session not found", "session_not_found": True, "success": False}),
        UNAVAILABLE,
    ),
    "queue full": (said({"msg": "queue_full"}), UNAVAILABLE),
    "status 500": (answer("Internal Server Error", 500, content_type="text/plain"), FAILED),
    "status 503": (web_page(503), UNAVAILABLE),
    "status 404": (NOT_FOUND, REJECTED),
}


@pytest.mark.parametrize("lie", STREAM_LIES)
def test_lies_in_a_stream_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    stream, code = STREAM_LIES[lie]
    caller = call("")

    def file(request: Request) -> Answer:
        return FILE_OK if request.path.endswith(AUDIO_PATH) else NOT_FOUND

    upstream.answers(Gradio(TONE.content, stream=stream, file=file).routes)
    assert caller.generate().code == code
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


JOIN_LIES: Mapping[str, tuple[Answer, str]] = {
    "empty": (answer(b""), BAD),
    "null": (answer(None), BAD),
    "a list": (answer([]), BAD),
    "no number": (answer({}), BAD),
    "number is null": (answer({"event_id": None}), BAD),
    "number is a number": (answer({"event_id": 5}), BAD),
    "number is empty": (answer({"event_id": ""}), BAD),
    "number of 1 MB": (answer({"event_id": "a" * 2**20}), BAD),
    "a web page": (web_page(), BAD),
    "deep nesting": (answer("[" * 100_000), BAD),
    "status 500": (answer("Internal Server Error", 500, content_type="text/plain"), FAILED),
    "not logged in": (answer({"detail": {"error": "Not authenticated", "auth_message": None}}, 401), REJECTED),
    "queue full": (answer({"detail": "Queue is full. Max size is 1 and size is 1."}, 503), UNAVAILABLE),
    "input refused": (
        answer(
            {
                "detail": [
                    {
                        "__type__": "validate",
                        "is_valid": False,
                        "message": "prompt too long",
                        "parameter_name": "text",
                    }
                ]
            },
            422,
        ),
        REFUSED_PROMPT,
    ),
}


@pytest.mark.parametrize("lie", JOIN_LIES)
def test_lies_about_the_job_s_number_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    join, code = JOIN_LIES[lie]
    caller = call("")
    upstream.answers(Gradio(TONE.content, join=join).routes)
    assert caller.generate().code == code
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


FILE_LIES: Mapping[str, tuple[Answer, str]] = {
    "empty": (answer(b""), BAD),
    "a web page": (web_page(), BAD),
    "JSON": (answer({"detail": "no"}), BAD),
    "a JPEG as audio": (answer(b"\xff\xd8\xff\xe0\0\x10JFIF\0", content_type="audio/wav"), BAD),
    "silence": (answer(b"", content_type="audio/wav"), BAD),
    "a cut WAV": (answer(TONE.content[:-100], content_type="audio/wav"), BAD),
    "a cut OGG": (answer(transcode(TONE, "ogg").content[:-100]), BAD),
    "a playlist": (answer(b"#EXTM3U\n#EXT-X-VERSION:3\n"), BAD),
    "a video": (answer(b"\0\0\0\x20ftypisom" + bytes(500)), BAD),
    "no content": (answer(b"", 204), BAD),
    "part of it": (answer(TONE.content[:5_000], 206), BAD),
    "status 403": (answer({"detail": "File not allowed: /tmp/gradio/x/audio.wav."}, 403), BAD),
    "status 404": (answer({"detail": "File not found"}, 404), BAD),
    "status 500": (answer("Internal Server Error", 500), BAD),
    "status 503": (web_page(503), BAD),
}


@pytest.mark.parametrize("lie", FILE_LIES)
def test_lies_in_the_file_s_place_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    file, code = FILE_LIES[lie]
    caller = call("")
    upstream.answers(Gradio(TONE.content, file=file).routes)
    assert caller.generate().code == code
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


CONFIG_LIES: Mapping[str, tuple[object, tuple[str, ...]]] = {
    "dependencies is text": ({**gradio_config(), "dependencies": "none"}, (BAD, REJECTED)),
    "dependencies is empty": ({**gradio_config(), "dependencies": []}, (REJECTED,)),
    "dependencies are numbers": ({**gradio_config(), "dependencies": [1, 2]}, (BAD, REJECTED)),
    "components is null": ({**gradio_config(), "components": None}, (BAD, REJECTED)),
    "components is empty": ({**gradio_config(), "components": []}, (REJECTED,)),
    "inputs without components": (
        {**gradio_config(), "dependencies": [{"id": 0, "inputs": [99], "outputs": [98], "api_name": "predict"}]},
        (REJECTED,),
    ),
    "version is a number": ({**gradio_config(), "version": 5}, (BAD, REJECTED)),
    "version is a word": ({**gradio_config(), "version": "latest"}, (BAD, REJECTED, "ok")),
    "prefix is a number": ({**gradio_config(), "api_prefix": 5}, (BAD, REJECTED)),
    "prefix is another host": ({**gradio_config(), "api_prefix": "@127.0.0.1:9"}, (BAD, REJECTED)),
    "prefix climbs": ({**gradio_config(), "api_prefix": "/../.."}, (BAD, REJECTED)),
    "a null in each place": (dict.fromkeys(gradio_config()), (BAD, REJECTED)),
    "an empty object": ({}, (REJECTED,)),
    "a list": ([], (REJECTED,)),
    "null": (None, (REJECTED,)),
    "a number": (5, (REJECTED,)),
    "deep nesting": ("[" * 100_000 + "]" * 100_000, (BAD, REJECTED)),
    "an enormous number": ('{"version": 1e400, "dependencies": []}', (BAD, REJECTED)),
    "a web page": ("<!DOCTYPE html><html></html>", (REJECTED,)),
    "nothing": ("", (BAD, REJECTED)),
    "not UTF-8": (b'{"version": "\xff\xfe", "dependencies": []}', (BAD, REJECTED)),
}


@pytest.mark.parametrize("lie", CONFIG_LIES)
def test_lies_in_a_config_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    config, codes = CONFIG_LIES[lie]
    caller = call("")
    upstream.answers(Gradio(TONE.content, config=answer(config)).routes)
    assert caller.generate().code in codes


CONFIG_STATUSES: Mapping[str, tuple[Answer, str]] = {
    "401": (answer({"detail": "Not authenticated"}, 401), REJECTED),
    "429": (answer("Too many requests", 429, ("Retry-After", "7")), UNAVAILABLE),
    "500": (answer("Internal Server Error", 500), FAILED),
    "502": (web_page(502), UNAVAILABLE),
    "503": (answer("Your space is in error, check its status on hf.co", 503, content_type="text/plain"), UNAVAILABLE),
    "504": (web_page(504), TIMEOUT),
}


@pytest.mark.parametrize("path", ["", "/run/predict"])
@pytest.mark.parametrize("status", CONFIG_STATUSES)
def test_an_upstream_in_trouble_is_not_taken_for_one_without_a_config(
    upstream: FaultyServer, call: MakeCaller, status: str, path: str
) -> None:
    reply, code = CONFIG_STATUSES[status]
    caller = call(path)
    upstream.answers(Gradio(TONE.content, config=reply).routes)
    assert caller.generate().code == code
    assert upstream.count("POST") == 0
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


@pytest.mark.parametrize(
    "config",
    [
        web_page(),
        web_page(404),
        answer({"ok": "ok"}),
        answer({"version": "1.0"}),
        answer([]),
        answer("[" * 100_000),
        answer("Ok", 403),
        answer("Method Not Allowed", 405),
    ],
)
def test_a_plain_server_may_answer_anything_to_get_config(
    upstream: FaultyServer, call: MakeCaller, config: Answer
) -> None:
    """Single-page applications and api-inference-community answer each GET with 200."""
    upstream.answers(play_plain(PLAIN_OK, config=config))
    assert call().generate().code == "ok"


# ---------------------------------------------------------------------- lies in a plain answer


def rated(samples: object, rate: object = 8_000) -> dict[str, object]:
    return {"audio": samples, "sampling_rate": rate}


SILENCE_WAV = TONE.content[:44] + bytes(len(TONE.content) - 44)
TENTH_WAV = TONE.content[:40] + (1_600).to_bytes(4, "little") + TONE.content[44 : 44 + 1_600]
JPEG = base64_of(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500))

LIES: Mapping[str, tuple[object, str]] = {
    "nothing": (b"", BAD),
    "spaces": (b"  \n ", BAD),
    "a web page": ("<!DOCTYPE html><html><body>Space</body></html>", BAD),
    "a web page after spaces": ("\n\n  <html><body>Space</body></html>", BAD),
    "XML": ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', BAD),
    "null": (None, BAD),
    "true": (True, BAD),
    "a number": (5, BAD),
    "text": ("Hello, I am a music server.", BAD),
    "JSON text": ('"Hello"', BAD),
    "an empty list": ([], BAD),
    "an empty object": ({}, BAD),
    "no data": ({"data": []}, BAD),
    "data is null": ({"data": None}, BAD),
    "data is a null": ({"data": [None]}, BAD),
    "data is text": ({"data": "done"}, BAD),
    "data is a number": ({"data": 7}, BAD),
    "data is an object": ({"data": {}}, BAD),
    "data is numbers": ({"data": [1, 2, 3]}, BAD),
    "data is booleans": ({"data": [True, False]}, BAD),
    "a sentence in data": ({"data": ["The music is being made, come back later."]}, BAD),
    "cut JSON": ('{"data": ["UklGR', BAD),
    "two JSON values": ('{"data": []} {"data": []}', BAD),
    "not UTF-8": (b'{"data": ["\xff\xfe"]}', BAD),
    "half an emoji": ('{"data": ["\\ud83c"]}', BAD),
    "NaN": ('{"audio": [NaN, NaN], "sampling_rate": NaN}', BAD),
    "an enormous number": ('{"data": [1e400], "sampling_rate": 1e400}', BAD),
    "an enormous whole number": ('{"data": [' + "9" * 10_000 + "]}", BAD),
    "deep lists": ("[" * 100_000 + "]" * 100_000, BAD),
    "deep objects": ('{"data":' * 50_000 + "1" + "}" * 50_000, BAD),
    "deep but sound": ('{"data":' * 500 + f'"{base64_of(TONE)}"' + "}" * 500, BAD),
    "many items": ({"data": [{"audio": None}] * 50_000}, BAD),
    "many keys": ({f"key{number}": number for number in range(50_000)}, BAD),
    "base64 of a JPEG": ({"data": [JPEG]}, BAD),
    "a JPEG as audio": ({"data": ["data:audio/wav;base64," + JPEG]}, BAD),
    "base64 of silence": ({"data": [base64_of(SILENCE_WAV)]}, BAD),
    "base64 of a tenth of a second": ({"data": [base64_of(TENTH_WAV)]}, BAD),
    "base64 of a cut WAV": ({"data": [base64_of(TONE.content[:9_000])]}, BAD),
    "base64 of a WAV cut after its header": ({"data": [base64_of(TONE.content[:44])]}, BAD),
    "base64 with a hole": ({"data": [base64_of(TONE)[:900] + "!" + base64_of(TONE)[901:]]}, BAD),
    "base64 cut": ({"data": [base64_of(TONE)[:1_001]]}, BAD),
    "base64 in base64": ({"data": [base64_of(base64_of(TONE).encode())]}, BAD),
    "a data URL that is not base64": ({"data": ["data:audio/wav,RIFF"]}, BAD),
    "raw WAV cut": (TONE.content[:9_000], BAD),
    "raw silence": (SILENCE_WAV, BAD),
    "raw JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500), BAD),
    "raw zeros": (bytes(10_000), BAD),
    "raw MP4": (b"\0\0\0\x20ftypisom" + bytes(500), BAD),
    "a path on its disk": ({"data": ["/tmp/gradio/a.wav"]}, BAD),  # noqa: S108
    "a path of the file system": ({"data": [gradio_file("/etc/passwd")]}, BAD),
    "a file URL": ({"data": ["file:///etc/passwd"]}, BAD),
    "samples are text": (rated(["0.1"] * 8_000), BAD),
    "samples are objects": (rated([{}] * 8_000), BAD),
    "samples are mixed": (rated([*WAVE[1:], "x"]), BAD),
    "samples are nulls": (rated([None] * 8_000), BAD),
    "samples are booleans": (rated([True] * 8_000), BAD),
    "samples are empty": (rated([]), BAD),
    "samples are empty lists": (rated([[[]]]), BAD),
    "samples are uneven": (rated([WAVE, WAVE[1:]]), BAD),
    "samples are too deep": (rated([[[[WAVE]]]]), BAD),
    "samples are an object": (rated({"0": 0.1}), BAD),
    "samples are enormous": (rated([1e308] * 8_000), BAD),
    "rate is null": (rated(WAVE, None), BAD),
    "rate is text": (rated(WAVE, "fast"), BAD),
    "rate is true": (rated(WAVE, True), BAD),
    "rate is zero": (rated(WAVE, 0), BAD),
    "rate is negative": (rated(WAVE, -8_000), BAD),
    "rate is enormous": (rated(WAVE, 10**300), BAD),
    "rate is a list": (rated(WAVE, [8_000]), BAD),
    "wrong types everywhere": (
        {"data": {"audio": 5, "path": [], "name": {}, "url": 7, "sampling_rate": "x", "is_stream": "yes"}, "error": 0},
        BAD,
    ),
    "an update of nothing": ({"data": [{"__type__": "update", "value": None}]}, BAD),
    "still generating": ({"data": [None], "is_generating": True}, BAD),
    "an error": ({"error": "unknown error"}, FAILED),
    "an error's list": ({"error": ["a", "b"]}, FAILED),
    "an error's object": ({"error": {"message": "it broke", "type": "server_error"}}, FAILED),
    "an error beside null": ({"data": None, "error": "CUDA out of memory. Tried to allocate 2.00 GiB"}, FAILED),
    "an error about the prompt": ({"error": "The prompt is not acceptable"}, REFUSED_PROMPT),
    "loading": ({"error": "Model x is currently loading", "estimated_time": 20}, UNAVAILABLE),
    "loading, no time": ({"error": "Model x is currently loading"}, UNAVAILABLE),
    "loading, a nonsense time": ({"error": "Model x is currently loading", "estimated_time": "soon"}, UNAVAILABLE),
    "loading, a negative time": ({"error": "Model x is currently loading", "estimated_time": -5}, UNAVAILABLE),
    "loading, a null time": ({"error": "Model x is currently loading", "estimated_time": None}, UNAVAILABLE),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_under_status_200_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    """What is complete and cannot be read will not be better the second time, unless its audio was cut."""
    body, code = LIES[lie]
    caller = call(hf_attempts=2)
    upstream.answers(play_plain(answer(body)))
    outcome = caller.generate()
    assert outcome.code == code
    if lie == "loading":
        assert outcome.retry_after == 20
    if code == BAD and "cut" not in lie:
        assert outcome.attempts == upstream.count("POST") == 1
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("content_type", ["text/html", "image/jpeg", "application/octet-stream", "", "a;b;c", "\xe9"])
def test_the_content_type_does_not_matter(upstream: FaultyServer, call: MakeCaller, content_type: str) -> None:
    for body in (TONE.content, json.dumps({"data": [base64_of(TONE)]}), base64_of(TONE)):
        upstream.answers(play_plain(answer(body, content_type=content_type)))
        assert call().generate().code == "ok"


ENDPOINT_LIES: Mapping[str, tuple[Answer, str]] = {
    "null": (answer(None), BAD),
    "no samples": (answer([{"generated_audio": [[]]}]), BAD),
    "samples of null": (answer(rated([[[None] * 8_000]])), BAD),
    "audio that cannot be serialized": (
        answer({"error": "Audio serialization not implemented"}, 400),
        REJECTED,
    ),
    "out of memory": (answer({"error": "CUDA out of memory. Tried to allocate 2.00 GiB"}, 400), FAILED),
    "a bug": (answer({"error": "'NoneType' object is not subscriptable"}, 400), FAILED),
    "starting": (web_page(503), UNAVAILABLE),
    "an unknown parameter": (
        answer({"error": "_sanitize_parameters() got an unexpected keyword argument 'generate_kwargs'"}, 400),
        REJECTED,
    ),
    "a body of 40 MB": ((Send(head(length=40 * 2**20) + b'{"audio": ['), Repeat(b"0.1," * 1_000)), BAD),
}


@pytest.mark.parametrize("lie", ENDPOINT_LIES)
def test_lies_of_an_endpoint_are_seen_through(upstream: FaultyServer, call: MakeCaller, lie: str) -> None:
    reply, code = ENDPOINT_LIES[lie]
    caller = call("/", max_audio_bytes=2**20)
    upstream.answers({"POST /": endpoint(reply)})
    assert caller.generate().code == code
    upstream.answers({"POST /": endpoint(answer(ENDPOINT_OK))})
    assert caller.generate().code == "ok"


# ---------------------------------------------------------------------- statuses


@dataclass(frozen=True)
class Refusal:
    """A failed answer and what is to come of it.

    Attributes:
        reply: The answer.
        code: Of our error.
        is_repeated: Whether it is asked again.
        retry_after: What the caller is told, in seconds.
    """

    reply: Answer
    code: str
    is_repeated: bool = False
    retry_after: int | None = None


SPACE_404 = web_page(404, "<html><h1>404</h1><p>Sorry, we can’t find the page you are looking for.</p></html>")
NO_POST = "This API endpoint does not accept direct HTTP POST requests. Please join the queue to use this API."
CREDITS = "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more."
PERMISSIONS = (
    "This authentication method does not have sufficient permissions to call Inference Providers on behalf of user X"
)
GONE = "https://api-inference.huggingface.co is no longer supported. Please use https://router.huggingface.co instead."
LOADING = "Model facebook/musicgen-small is currently loading"
TRACEBACK = (
    'Traceback (most recent call last):\n  File "/home/user/app/app.py", line 5, in predict\n'
    "    raise ValueError(token)\nValueError: boom"
)

REFUSALS = {
    "400 other provider": Refusal(answer({"error": "Model not supported by provider hf-inference"}, 400), REJECTED),
    "400 bad value": Refusal(answer({"error": "bad value"}, 400), FAILED),
    "400 list": Refusal(answer({"error": ["bad value", "another"]}, 400), FAILED),
    "400 out of memory": Refusal(answer({"error": "CUDA out of memory. Tried to allocate 2 GiB"}, 400), FAILED),
    "400 about the prompt": Refusal(answer({"error": "The prompt is not acceptable"}, 400), REFUSED_PROMPT),
    "401 text": Refusal(answer({"detail": "Not authenticated"}, 401), REJECTED),
    "401 object": Refusal(answer({"detail": {"error": "Not authenticated", "auth_message": None}}, 401), REJECTED),
    "401 credentials": Refusal(answer({"error": "Invalid credentials in Authorization header"}, 401), REJECTED),
    "401 empty": Refusal(answer(b"", 401), REJECTED),
    "402": Refusal(answer({"error": CREDITS}, 402), UNAVAILABLE),
    "402 text": Refusal(answer("You have depleted your monthly included credits", 402), UNAVAILABLE),
    "403": Refusal(answer({"error": PERMISSIONS}, 403), REJECTED),
    "403 web page": Refusal(web_page(403), REJECTED),
    "404 of a private Space": Refusal(SPACE_404, REJECTED),
    "404 of Gradio": Refusal(answer({"detail": "Not Found"}, 404), REJECTED),
    "404 of a queued function": Refusal(answer({"detail": NO_POST}, 404), REJECTED),
    "405": Refusal(
        answer({"type": "error", "error": {"message": "Method Not Allowed"}}, 405, ("Allow", "GET")), REJECTED
    ),
    "410": Refusal(answer({"error": GONE}, 410), REJECTED),
    "422 list": Refusal(
        answer({"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": {}}]}, 422),
        REJECTED,
    ),
    "422 text": Refusal(answer({"detail": "Unprocessable"}, 422), REJECTED),
    "429": Refusal(answer({"error": "Too many requests"}, 429), UNAVAILABLE, True),
    "429 seconds": Refusal(answer({}, 429, ("Retry-After", "77")), UNAVAILABLE, False, 77),
    "429 part of a second": Refusal(answer({}, 429, ("Retry-After", "0.01")), UNAVAILABLE, True, 1),
    "429 RateLimit": Refusal(answer({}, 429, ("RateLimit", '"api";r=0;t=55')), UNAVAILABLE, False, 55),
    "429 RateLimit, some left": Refusal(answer({}, 429, ("RateLimit", '"api";r=5;t=55')), UNAVAILABLE, True),
    "429 both": Refusal(
        answer({}, 429, ("Retry-After", "30"), ("RateLimit", '"api";r=0;t=55')), UNAVAILABLE, False, 30
    ),
    "429 nonsense": Refusal(answer({}, 429, ("Retry-After", "soon")), UNAVAILABLE, True),
    "429 negative": Refusal(answer({}, 429, ("Retry-After", "-5")), UNAVAILABLE, True),
    "429 past": Refusal(answer({}, 429, ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")), UNAVAILABLE, True, 1),
    "429 a year": Refusal(answer({}, 429, ("Retry-After", "31536000")), UNAVAILABLE, False, 86_400),
    "429 beyond numbers": Refusal(answer({}, 429, ("Retry-After", "9" * 400)), UNAVAILABLE, True),
    "429 beyond dates": Refusal(answer({}, 429, ("Retry-After", "Wed, 99 Oct 99999 77:28:00 GMT")), UNAVAILABLE, True),
    "500 crash": Refusal(answer({"error": None}, 500), FAILED, True),
    "500 text": Refusal(answer("Internal Server Error", 500, content_type="text/plain"), FAILED, True),
    "500 traceback": Refusal(answer(TRACEBACK, 500, content_type="text/plain"), FAILED, True),
    "500 traceback in JSON": Refusal(answer({"error": TRACEBACK}, 500), FAILED, True),
    "500 warnings": Refusal(answer({"error": "unknown error", "warnings": ["CUDA out of memory"]}, 500), FAILED, True),
    "500 gr.Error": Refusal(
        answer({"error": "'The prompt is not acceptable'", "duration": 10, "visible": True}, 500), REFUSED_PROMPT
    ),
    "500 empty": Refusal(answer(b"", 500), FAILED, True),
    "502": Refusal(web_page(502), UNAVAILABLE, True),
    "503": Refusal(web_page(503), UNAVAILABLE, True),
    "503 Space in error": Refusal(
        answer("Your space is in error, check its status on hf.co", 503, content_type="text/plain"), UNAVAILABLE, True
    ),
    "503 queue full": Refusal(
        answer({"detail": "Queue is full. Max size is 1 and size is 1."}, 503), UNAVAILABLE, True
    ),
    "503 loading": Refusal(answer({"error": LOADING, "estimated_time": 20.3}, 503), UNAVAILABLE, False, 21),
    "503 loading for long": Refusal(answer({"error": LOADING, "estimated_time": 945}, 503), UNAVAILABLE, False, 945),
    "503 loading, no time": Refusal(answer({"error": LOADING}, 503), UNAVAILABLE, True),
    "503 loading, nonsense": Refusal(answer({"error": LOADING, "estimated_time": [1]}, 503), UNAVAILABLE, True),
    "503 seconds": Refusal(answer("", 503, ("Retry-After", "120")), UNAVAILABLE, False, 120),
    "504": Refusal(web_page(504), TIMEOUT, True),
    "quota": Refusal(
        answer({"error": "You have exceeded your GPU quota (60s requested vs. 0s left). Try again in 1:23:45"}, 500),
        UNAVAILABLE,
        False,
        5_025,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_is_understood_and_repeated_only_if_that_helps(
    upstream: FaultyServer, call: MakeCaller, name: str
) -> None:
    refusal = REFUSALS[name]
    caller = call(hf_attempts=2)
    upstream.answers(play_plain(refusal.reply))
    outcome = caller.generate()
    assert (outcome.code, outcome.retry_after) == (refusal.code, refusal.retry_after)
    assert outcome.attempts == upstream.count("POST") == (2 if refusal.is_repeated else 1)
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("name", [name for name, refusal in REFUSALS.items() if refusal.is_repeated])
def test_a_refusal_that_passes_is_not_noticed(upstream: FaultyServer, call: MakeCaller, name: str) -> None:
    upstream.answers(play_plain([REFUSALS[name].reply, PLAIN_OK]))

    outcome = call(hf_attempts=2).generate()

    assert (outcome.code, outcome.attempts, upstream.count("POST")) == ("ok", 2, 2)


@pytest.mark.parametrize("body", [b"", b'{"error": "strange"}', b"<html></html>"])
def test_an_unusual_status_is_no_internal_error(upstream: FaultyServer, call: MakeCaller, body: bytes) -> None:
    caller = call()
    for status in (100, 199, 201, 202, 204, 205, 206, 300, 304, 306, 418, 431, 451, 501, 508, 520, 599):
        interim = (Close(),) if status < 200 else ()
        upstream.answers(play_plain((*answer(body, status), *interim)))
        assert caller.generate().code in (BAD, FAILED, REJECTED, UNAVAILABLE)
        upstream.answers(play_plain(PLAIN_OK))
        assert caller.generate().code == "ok"


def test_retry_after_may_be_a_date(upstream: FaultyServer, call: MakeCaller) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    upstream.answers(play_plain(answer({}, 429, ("Retry-After", at))))
    outcome = call(hf_attempts=2).generate()
    assert outcome.code == UNAVAILABLE
    assert outcome.retry_after is not None
    assert 37 <= outcome.retry_after <= 40
    assert upstream.count("POST") == 1


def test_retry_after_is_obeyed_when_it_fits_into_the_deadline(upstream: FaultyServer, call: MakeCaller) -> None:
    upstream.answers(play_plain([answer({}, 429, ("Retry-After", "0.4")), PLAIN_OK]))
    outcome = call(hf_attempts=2).generate()
    assert (outcome.code, outcome.attempts) == ("ok", 2)
    assert 0.4 <= outcome.elapsed_s < 1.4


def test_retry_after_beyond_the_deadline_goes_out_at_once(upstream: FaultyServer, call: MakeCaller) -> None:
    upstream.answers(play_plain(answer({}, 503, ("Retry-After", "3"))))
    outcome = call(hf_attempts=5, hf_timeout_s=1, deadline_s=3).generate()
    assert (outcome.code, outcome.retry_after, outcome.attempts) == (UNAVAILABLE, 3, 1)
    assert outcome.elapsed_s < 1.0


def test_the_number_of_attempts_is_the_setting_s(upstream: FaultyServer, call: MakeCaller) -> None:
    for attempts in (1, 2, 5):
        upstream.answers(play_plain(web_page(502)))
        assert call(hf_attempts=attempts).generate().attempts == attempts
        assert upstream.count("POST") == attempts


QUOTA = "You have exceeded your free ZeroGPU quota (60s requested vs. 0s left). Try again in "
SAID: Mapping[str, tuple[str | None, str, str, int | None]] = {
    "quota": (QUOTA + "1:23:45. Subscribe to Hugging Face PRO", "ZeroGPU quota exceeded", UNAVAILABLE, 5_025),
    "quota, short": (QUOTA + "0:00:59", "Error", UNAVAILABLE, 59),
    "quota, days": (QUOTA + "1 day, 2:03:04", "ZeroGPU quota exceeded", UNAVAILABLE, 86_400),
    "quota, past": (QUOTA + "-1 day, 23:59:59", "ZeroGPU quota exceeded", UNAVAILABLE, 1),
    "quota, HTML": (
        'You have exceeded your GPU quota (60s requested vs. 56s left). <a href="https://huggingface.co/join">Join</a>',
        "Error",
        UNAVAILABLE,
        None,
    ),
    "runs": ("You have exceeded your ZeroGPU runs limit. ", "ZeroGPU quota exceeded", UNAVAILABLE, None),
    "limit of the Space": ("Space app has reached its GPU limit.", "ZeroGPU quota exceeded", UNAVAILABLE, None),
    "credits": ("Pending", "ZeroGPU pending credits exceeded", UNAVAILABLE, None),
    "no GPU": ("No GPU was available after 60s", "ZeroGPU queue timeout", UNAVAILABLE, None),
    "GPU aborted": ("GPU task aborted", "ZeroGPU worker error", FAILED, None),
    "too long for a GPU": (
        "The requested GPU duration (300s) is larger than the maximum allowed",
        "ZeroGPU illegal duration",
        REJECTED,
        None,
    ),
    "prompt": ("The prompt is not acceptable: <b>x</b>", "Error", REFUSED_PROMPT, None),
    "prompt of 4.x": ("'The prompt is not acceptable'", "Error", REFUSED_PROMPT, None),
    "no words": (None, "Error", FAILED, None),
    "empty words": ("", "Error", FAILED, None),
    "memory": ("CUDA out of memory. Tried to allocate 2.00 GiB", "Error", FAILED, None),
    "traceback": (TRACEBACK, "Error", FAILED, None),
    "long words": ("no " * 100_000, "Error", FAILED, None),
    "unclosed markup": ("<a " * 50_000, "Error", FAILED, None),
    "an enormous wait": (QUOTA + "99999999999999:99:99", "Error", UNAVAILABLE, None),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_gradio_function_says_is_understood(upstream: FaultyServer, call: MakeCaller, name: str) -> None:
    text, title, code, retry_after = SAID[name]
    caller = call("")
    upstream.answers(Gradio(TONE.content, stream=gradio_failure(text, title)).routes)
    outcome = caller.generate()
    assert outcome.code == code
    assert name == "an enormous wait" or outcome.retry_after == retry_after
    assert outcome.elapsed_s < 1.0
    upstream.answers(GRADIO.routes)
    assert caller.generate().code == "ok"


# ---------------------------------------------------------------------- other hosts


WAYS = {
    "absolute": "http://127.0.0.1:{other}/stolen.wav",
    "without a scheme": "//127.0.0.1:{other}/stolen.wav",
    "another name": "http://localhost:{other}/stolen.wav",
    "our host as user": "http://127.0.0.1:{own}@127.0.0.1:{other}/stolen.wav",
    "user and password": "http://a:b@127.0.0.1:{other}/stolen.wav",
    "backslashes": "http:\\\\127.0.0.1:{other}\\stolen.wav",
    "backslash before the at": "http://127.0.0.1:{own}\\@127.0.0.1:{other}/stolen.wav",
    "hash before the at": "http://127.0.0.1:{other}#@127.0.0.1:{own}/stolen.wav",
    "in capitals": "HTTP://127.0.0.1:{other}/stolen.wav",
    "spaces": " http://127.0.0.1:{other}/stolen.wav ",
    "a tab inside": "ht\ttp://127.0.0.1:{other}/stolen.wav",
    "one slash": "http:/127.0.0.1:{other}/stolen.wav",
    "as a number": "http://2130706433:{other}/stolen.wav",
}
"""Ways to write another origin, some of which parsers disagree about."""


def written(way: str, upstream: FaultyServer, elsewhere: FaultyServer) -> str:
    return WAYS[way].format(own=upstream.port, other=elsewhere.port)


@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_to_another_origin_is_not_followed(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller, place: str
) -> None:
    there = PLACES[place]
    for status in (301, 302, 303, 307, 308):
        caller = call(there.path, hf_attempts=2)
        upstream.answers(there.routes(redirect(f"{elsewhere.url}/stolen.wav", status)))
        assert caller.generate().code in (REJECTED, BAD)
        assert elsewhere.requests == []
        upstream.answers(there.routes((Send(there.good),)))
        assert caller.generate().code == "ok"


@pytest.mark.parametrize("way", WAYS)
def test_a_redirect_is_not_followed_however_its_host_is_written(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller, way: str
) -> None:
    caller = call()
    upstream.answers(play_plain(redirect(written(way, upstream, elsewhere))))
    assert caller.generate().code in (REJECTED, BAD)
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize(
    "location", ["", "http://", "http://[::1", "http://127.0.0.1:99999/", "\x00", "file:///etc/passwd"]
)
def test_a_redirect_to_nowhere_is_survived(upstream: FaultyServer, call: MakeCaller, location: str) -> None:
    caller = call(hf_timeout_s=2)
    upstream.answers(play_plain(redirect(location)))
    assert caller.generate().code in (REJECTED, BAD, FAILED)
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


def test_a_redirect_chain_that_leaves_in_the_end_is_not_followed(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller
) -> None:
    upstream.answers({**play_plain(redirect("/next")), "POST /next": redirect(f"{elsewhere.url}/stolen.wav")})
    assert call().generate().code in (REJECTED, BAD)


@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_with_a_huge_body_costs_nothing(upstream: FaultyServer, call: MakeCaller, place: str) -> None:
    """requests would read the whole body before it follows, or does not follow, a redirect."""
    there = PLACES[place]
    method, _ = there.request
    flood = (Send(head(307, ("Location", "/moved/here"))), Repeat(b"A" * 65_536, HUGE // 65_536), Close())
    upstream.answers({**there.routes(flood), f"{method} /moved/here": (Send(there.good),)})
    with peak_memory() as peak_bytes:
        outcome = call(there.path, max_audio_bytes=CAP).generate()
    assert outcome.code == "ok"
    assert peak_bytes() < 12 * CAP
    assert upstream.sent_bytes < 32 * 2**20


@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_in_a_circle_ends(upstream: FaultyServer, call: MakeCaller, place: str) -> None:
    there = PLACES[place]
    method, path = there.request
    caller = call(there.path, hf_attempts=2)
    upstream.answers(there.routes(lambda it: redirect(it.target)))
    assert caller.generate().code in (BAD, REJECTED)
    assert upstream.count(method, path) < 10
    upstream.answers(there.routes((Send(there.good),)))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_within_the_origin_is_followed_with_method_and_body(
    upstream: FaultyServer, call: MakeCaller, place: str, status: int
) -> None:
    there = PLACES[place]
    method, _ = there.request
    caller = call(there.path)
    upstream.answers({**there.routes(redirect("/moved/here", status)), f"{method} /moved/here": (Send(there.good),)})
    assert caller.generate().code == "ok"
    moved = next(each for each in upstream.requests if each.path == "/moved/here")
    assert moved.headers["authorization"] == f"Bearer {TOKEN}"
    if place == "post":
        assert moved.json == {"data": ["calm piano", 5]}


@pytest.mark.parametrize("way", WAYS)
def test_files_on_another_host_are_not_fetched(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller, way: str
) -> None:
    url = written(way, upstream, elsewhere)
    caller = call()
    for body in (
        {"data": [url]},
        {"data": [{"url": url}]},
        {"data": [{"path": url, "url": url}]},
        {"data": [{"name": url, "data": None, "is_file": True}]},
        {"audio_url": url},
        {"audio": {"url": url}},
        {"audio_file": {"url": url, "content_type": "audio/wav"}},
        url,
    ):
        upstream.answers(play_plain(answer(body)))
        assert caller.generate().code == BAD
        assert elsewhere.requests == []


@pytest.mark.parametrize("way", WAYS)
def test_files_of_a_gradio_app_on_another_host_are_not_fetched(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller, way: str
) -> None:
    url = written(way, upstream, elsewhere)
    caller = call("")
    for file in (gradio_file(url, url), gradio_file(None, url), {**gradio_file(url), "is_stream": True}, url):
        upstream.answers(Gradio(TONE.content, stream=events(*gradio_messages(file)), file=NOT_FOUND).routes)
        assert caller.generate().code == BAD
        assert elsewhere.requests == []


def test_the_url_beside_a_path_is_not_used(upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller) -> None:
    stream = events(*gradio_messages(gradio_file(url=f"{elsewhere.url}/stolen.wav")))
    upstream.answers(Gradio(TONE.content, stream=stream).routes)
    assert call("").generate().code == "ok"


def test_what_a_config_says_about_its_address_is_not_used(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller
) -> None:
    config = {**gradio_config(), "root": elsewhere.url, "root_url": elsewhere.url, "space_id": "a/b"}
    upstream.answers(Gradio(TONE.content, config=answer(config)).routes)
    assert call("").generate().code == "ok"


@pytest.mark.parametrize(
    "prefix",
    ["@127.0.0.1:{other}", ".evil.example", "//127.0.0.1:{other}", ":{other}", "http://127.0.0.1:{other}", "\\"],
)
def test_a_prefix_cannot_lead_to_another_host(
    upstream: FaultyServer, elsewhere: FaultyServer, call: MakeCaller, prefix: str
) -> None:
    """It is joined to the base URL, and `http://ours` + `@theirs` is theirs."""
    config = gradio_config(prefix.format(other=elsewhere.port))
    caller = call("", hf_timeout_s=2)
    upstream.answers({"GET /config": answer(config)})
    assert caller.generate().code in (BAD, REJECTED)


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "/../../../etc/passwd",
        "/srv/../../../x",
        "..%2f..%2fx",
        "/a/./b",
        "/a?b=c#d",
        "/ä b%20c",
    ],
)
def test_a_path_with_oddities_stays_behind_the_file_route(upstream: FaultyServer, call: MakeCaller, path: str) -> None:
    """Whatever the path, no other route of the host is asked, where the token might mean something else."""
    caller = call("")
    upstream.answers(Gradio(TONE.content, stream=events(*gradio_messages(gradio_file(path))), file=NOT_FOUND).routes)
    assert caller.generate().code == BAD
    known = ("/config", "/info", "/gradio_api/info", "/gradio_api/queue/join", "/gradio_api/queue/data")
    for request in upstream.requests:
        assert request.target.startswith("/gradio_api/file=") or request.path in known


# ---------------------------------------------------------------------- sizes


class peak_memory:  # noqa: N801 - reads as a function
    """Measures the most memory that was in use at a time within the block, in bytes."""

    def __enter__(self) -> Callable[[], int]:
        tracemalloc.start()
        return lambda: self._peak_bytes

    def __exit__(self, *_: object) -> None:
        self._peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


HUGE = 500 * 2**20
CAP = 2**20

FLOODS: Mapping[str, Answer] = {
    "declared": (Send(head(length=HUGE)), Repeat(b"A" * 65_536, HUGE // 65_536)),
    "not declared": (Send(head()), Repeat(b"A" * 65_536, HUGE // 65_536), Close()),
    "in chunks": (
        Send(head(200, ("Transfer-Encoding", "chunked"))),
        Repeat(b"10000\r\n" + b"A" * 65_536 + b"\r\n", HUGE // 65_536),
    ),
    "in one chunk": (
        Send(head(200, ("Transfer-Encoding", "chunked")) + b"%x\r\n" % HUGE),
        Repeat(b"A" * 65_536, HUGE // 65_536),
    ),
    "of JSON": (Send(head() + b'{"data": ["UklGR'), Repeat(b"A" * 65_536, HUGE // 65_536), Close()),
    "of audio": (
        Send(head(content_type="audio/wav") + TONE.content[:40] + b"\xff" * 4),
        Repeat(TONE.content[44:], HUGE // 16_000),
        Close(),
    ),
}


@pytest.mark.parametrize("place", ["post", "config", "join", "file"])
@pytest.mark.parametrize("flood", FLOODS)
def test_a_body_of_500_megabytes_is_cut_off_at_the_cap(
    upstream: FaultyServer, call: MakeCaller, flood: str, place: str
) -> None:
    there = PLACES[place]
    caller = call(there.path, max_audio_bytes=CAP, hf_attempts=2)
    upstream.answers(there.routes(FLOODS[flood]))
    with peak_memory() as peak_bytes:
        outcome = caller.generate()
    assert (outcome.code, outcome.attempts) == (BAD, 1)
    assert outcome.elapsed_s < 2.0
    assert peak_bytes() < 12 * CAP
    assert upstream.sent_bytes < 32 * 2**20  # what two sockets' buffers hold
    upstream.answers(there.routes((Send(there.good),)))
    assert caller.generate().code == "ok"


def bomb() -> bytes:
    """Return 500 MB of zeros in 500 kB: the same block, flushed, again and again."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (HUGE // 2**20 - 1)


BOMB = bomb()


def compressed(body: bytes, coding: str = "gzip") -> Answer:
    return answer(gzip.compress(body), 200, ("Content-Encoding", coding))


@pytest.mark.parametrize("place", ["post", "config", "join", "file"])
def test_a_small_body_that_unfolds_to_500_megabytes_is_cut_off_at_the_cap(
    upstream: FaultyServer, call: MakeCaller, place: str
) -> None:
    there = PLACES[place]
    caller = call(there.path, max_audio_bytes=CAP)
    upstream.answers(there.routes((Send(head(200, ("Content-Encoding", "gzip"), length=len(BOMB)) + BOMB),)))
    with peak_memory() as peak_bytes:
        outcome = caller.generate()
    assert outcome.code == BAD
    assert outcome.elapsed_s < 2.0
    assert peak_bytes() < 12 * CAP
    upstream.answers(there.routes((Send(there.good),)))
    assert caller.generate().code == "ok"


def test_a_bomb_in_an_event_stream_is_cut_off_at_the_cap(upstream: FaultyServer, call: MakeCaller) -> None:
    caller = call("", max_audio_bytes=CAP)
    start = head(200, ("Content-Encoding", "gzip"), length=len(BOMB), content_type="text/event-stream")
    upstream.answers(Gradio(TONE.content, stream=(Send(start + BOMB),)).routes)
    with peak_memory() as peak_bytes:
        outcome = caller.generate()
    assert outcome.code == BAD
    assert outcome.elapsed_s < 2.0
    assert peak_bytes() < 16 * CAP


@pytest.mark.parametrize("place", ["post", "config", "join", "file"])
def test_a_compressed_body_is_read(upstream: FaultyServer, call: MakeCaller, place: str) -> None:
    """Upstreams compress although they were not asked to."""
    there = PLACES[place]
    upstream.answers(there.routes(compressed(body_of(there.good))))
    assert call(there.path).generate().code == "ok"


@pytest.mark.parametrize(
    ("packed", "coding"),
    [
        (b"not gzip", "gzip"),
        (gzip.compress(body_of(sent(PLAIN_OK)))[:-200], "gzip"),
        (gzip.compress(body_of(sent(PLAIN_OK)))[:200] + bytes(2_000), "gzip"),
        (b"", "gzip"),
        (b"\0" * 100, "br"),
        (b"\0" * 100, "zstd"),
        (b"\0" * 100, "deflate"),
        (b"\0" * 100, "gzip, gzip, gzip, gzip, gzip, gzip, gzip"),
    ],
)
def test_damaged_compression_is_a_bad_response(
    upstream: FaultyServer, call: MakeCaller, packed: bytes, coding: str
) -> None:
    caller = call()
    upstream.answers(play_plain(answer(packed, 200, ("Content-Encoding", coding))))
    assert caller.generate().code == BAD
    upstream.answers(play_plain(PLAIN_OK))
    assert caller.generate().code == "ok"


@pytest.mark.parametrize("size", [CAP - 100, CAP, CAP + 2, 3 * CAP])
def test_the_cap_counts_the_audio_s_own_bytes(upstream: FaultyServer, call: MakeCaller, size: int) -> None:
    content = wav_of(size)
    assert len(content) == size
    wanted = "ok" if size <= CAP else BAD
    caller = call(max_audio_bytes=CAP)
    for reply in (answer(content), answer({"data": [base64_of(content)]}), answer(base64_of(content))):
        upstream.answers(play_plain(reply))
        assert caller.generate().code == wanted


# ---------------------------------------------------------------------- secrets


def echo(request: Request) -> str:
    """Return what a careless upstream tells everybody: how it was asked."""
    return f"bad request with Authorization: {request.headers['authorization']}, token={TOKEN}"


ECHOES: Mapping[str, Callable[[Request], Answer]] = {
    "500 error": lambda it: answer({"error": echo(it)}, 500),
    "500 detail": lambda it: answer({"detail": [{"msg": echo(it), "input": dict(it.headers)}]}, 500),
    "500 text": lambda it: answer(echo(it), 500, content_type="text/plain"),
    "500 page": lambda it: web_page(500, f"<html>{echo(it)}</html>"),
    "400 about the prompt": lambda it: answer({"error": f"The prompt is not acceptable: {echo(it)}"}, 400),
    "400 split by markup": lambda _: answer({"error": f"The prompt is refused: {TOKEN[:9]}<b></b>{TOKEN[9:]}"}, 400),
    "400 split by control characters": lambda _: answer(
        {"error": f"The prompt is refused: {TOKEN[:9]}\u200b{TOKEN[9:]} {TOKEN[:5]}\0{TOKEN[5:]}"}, 400
    ),
    "400 in the cut": lambda _: answer({"error": "The prompt is not acceptable " + "x" * 260 + " " + TOKEN}, 400),
    "401": lambda it: answer({"error": echo(it)}, 401),
    "422 echo of the input": lambda it: answer({"detail": [{"loc": ["body"], "input": echo(it)}]}, 422),
    "429 header": lambda _: answer({}, 429, ("Retry-After", TOKEN)),
    "503 page": lambda it: web_page(503, echo(it)),
    "200 error": lambda it: answer({"error": echo(it)}),
    "200 text": lambda it: answer(echo(it), content_type="text/plain"),
    "200 page": lambda it: web_page(200, f"<html>{echo(it)}</html>"),
    "200 keys": lambda it: answer({echo(it): {TOKEN: 1}}),
    "200 path": lambda it: answer({"data": [{"path": f"/{echo(it)}"}]}),
    "200 URL": lambda _: answer({"data": [f"http://{TOKEN}@127.0.0.1:1/a.wav"]}),
    "200 base64": lambda _: answer({"data": ["data:audio/wav;base64," + TOKEN * 20]}),
    "redirect": lambda _: redirect(f"http://127.0.0.1:1/{TOKEN}?t={TOKEN}"),
    "circle": lambda _: redirect(f"/run/predict?{TOKEN}"),
    "status line": lambda it: (Send(f"HTTP/1.1 {TOKEN} {echo(it)}\r\n\r\n".encode()), Close()),
    "no HTTP": lambda it: (Send(f"{echo(it)}\r\n\r\n".encode()), Close()),
    "header": lambda it: answer({}, 500, ("X-Echo", echo(it)), ("Set-Cookie", f"t={TOKEN}")),
    "chunk": lambda _: (Send(head(200, ("Transfer-Encoding", "chunked")) + f"{TOKEN}\r\n".encode()), Close()),
    "coding": lambda _: answer(b"x", 200, ("Content-Encoding", f"gzip, {TOKEN}")),
    "length": lambda _: answer(b"x", 200, ("Content-Length", TOKEN)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_token_that_the_upstream_tells_goes_nowhere(upstream: FaultyServer, call: MakeCaller, place: str) -> None:
    """The fixture looks for it in the answers, the log and our exceptions."""
    there = PLACES[place]
    for reply in ECHOES.values():
        upstream.answers(there.routes(reply))
        assert call(there.path, hf_timeout_s=SHORT_S, deadline_s=1).generate().status >= 400


@pytest.mark.parametrize("name", ECHOES)
def test_a_token_that_the_upstream_tells_is_not_in_the_exceptions_behind_ours(
    upstream: FaultyServer, call: MakeCaller, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The log blots them; whatever else is handed an exception with all its causes does not."""
    upstream.answers(play_plain(ECHOES[name]))
    call(hf_timeout_s=SHORT_S, deadline_s=1).generate()
    behind = [each for error in errors_in(caplog.records) for each in chain_of(error)]
    assert behind
    for error in behind:
        assert TOKEN not in shown_by(error)


@pytest.mark.parametrize("words", ["{}", "The prompt is not acceptable: {}", "You have exceeded your quota {}"])
def test_a_token_in_a_gradio_function_s_words_goes_nowhere(
    upstream: FaultyServer, call: MakeCaller, words: str
) -> None:
    def stream(request: Request) -> Answer:
        return gradio_failure(words.format(echo(request)), title=f"Error {TOKEN}")

    upstream.answers(Gradio(TONE.content, stream=stream).routes)
    assert call("").generate().status >= 400


@pytest.mark.parametrize("token", ["short", 'quotes"and\\slashes', "percent%20%s{}", "Bearer", "a" * 512])
def test_a_token_of_any_form_is_hidden(
    upstream: FaultyServer, call: MakeCaller, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    caller = call(hf_token=token)
    upstream.answers(play_plain(answer({"error": f"The prompt is not acceptable, says <{token}>"}, 400)))
    outcome = caller.generate()
    assert token not in str(outcome.problem["detail"])
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {token}"
