"""HTTP as hostile upstreams speak it: over real sockets, on loopback."""

from __future__ import annotations

import gc
import gzip
import http.client
import inspect
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import requests
import urllib3
from unit.engines.huggingface.hf_wire import (
    Exchange,
    Handler,
    Routes,
    converse,
    event_stream,
    new_transport,
    serve,
    status,
)

from app.engines.huggingface.transport import Answer, Event, decode_json, origin_of
from app.engines.huggingface.transport.failures import translate
from app.engines.huggingface.transport.sockets import Limits, _connect_in_time
from app.errors import (
    Cancelled,
    EngineError,
    UpstreamBadResponse,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def soon(seconds: float = 2.0) -> Deadline:
    return Deadline.after(seconds)


def raw(content: bytes) -> Handler:
    """Return a handler that sends these bytes and closes the connection."""

    def handle(exchange: Exchange) -> None:
        exchange.send(content)
        exchange.hang_up()

    return handle


def chunked(body: bytes, *, size: int = 0, end: bytes = b"0\r\n\r\n", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()).encode()
    parts = [body[at : at + size] for at in range(0, len(body), size)] if size else [body]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + lines + b"\r\n" + chunks + end


def drip(content: bytes, *, every_s: float = 0.05, first: bytes = b"") -> Handler:
    """Return a handler that sends a byte now and then, as long as anybody listens."""

    def handle(exchange: Exchange) -> None:
        exchange.send(first)
        for at in range(len(content)):
            exchange.send(content[at : at + 1])
            time.sleep(every_s)
        exchange.hang_up()

    return handle


def say_nothing(exchange: Exchange) -> None:
    time.sleep(0.6)


def fetch(handle: Handler, *, deadline: Deadline | None = None, limit_bytes: int = 10_000) -> Answer:
    with serve(handle) as server:
        conversation = new_transport(limit_bytes=limit_bytes).converse(server.url, {})
        return conversation.get(f"{server.url}/x", deadline=deadline or soon())


def failure_of(handle: Handler, *, deadline: Deadline | None = None, limit_bytes: int = 10_000) -> EngineError:
    with pytest.raises(EngineError) as failure:
        fetch(handle, deadline=deadline, limit_bytes=limit_bytes)
    return failure.value


# ---------------------------------------------------------------------- requests and answers


def test_json_goes_out_and_anything_comes_back() -> None:
    with serve(status(418, b"\x00\xffbytes", Content_Type="Audio/WAV; codecs=1")) as server:
        answer = converse(server, X_Extra="1").post(f"{server.url}/x?a=b", {"data": ["é", None]}, deadline=soon())
        (asked,) = server.requests
    assert (answer.status, answer.ok, answer.body) == (418, False, b"\x00\xffbytes")
    assert answer.media_type == "audio/wav"
    assert (asked.method, asked.path, asked.json()) == ("POST", "/x?a=b", {"data": ["é", None]})
    assert asked.headers["content-type"] == "application/json", "toolkits refuse any charset but UTF-8 in capitals"
    assert asked.headers["accept"] == "*/*"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"] == "studio"


def test_a_get_carries_no_body_and_no_content_type() -> None:
    with serve(status(200)) as server:
        converse(server).get(server.url, deadline=soon())
        (asked,) = server.requests
    assert (asked.method, asked.body) == ("GET", b"")
    assert "content-type" not in asked.headers


def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serve(status(200)) as server:
        assert converse(server).get(server.url, deadline=soon()).ok
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("text", [b"", b"nope", b"{", b"\xff", b"[" * 100_000, "text", b"NaN"])
def test_what_is_not_json_is_a_bad_response(text: bytes | str) -> None:
    with pytest.raises(UpstreamBadResponse, match="not JSON"):
        decode_json(text)


def test_an_answers_json_is_decoded() -> None:
    assert Answer(200, {}, b'{"a": [1, null]}').json() == {"a": [1, None]}
    assert Answer(204, {}, b"").media_type == ""


# ---------------------------------------------------------------------- connections and cookies


def test_a_connection_is_used_again() -> None:
    with serve(status(200)) as server:
        transport = new_transport()
        for _ in range(3):
            conversation = transport.converse(server.url, {})
            conversation.get(f"{server.url}/a", deadline=soon())
            conversation.post(f"{server.url}/b", {}, deadline=soon())
        assert {each.connection_number for each in server.requests} == {1}


def test_a_reused_connection_obeys_the_limits_of_the_new_exchange() -> None:
    with serve(Routes({"/fast": {}, "/slow": drip(b"x" * 100, first=HEAD + b"Content-Length: 100\r\n\r\n")})) as server:
        conversation = converse(server)
        conversation.get(f"{server.url}/fast", deadline=soon(60))
        started_s = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            conversation.get(f"{server.url}/slow", deadline=soon(0.2))
        assert time.monotonic() - started_s < 0.6
        assert {each.connection_number for each in server.requests} == {1}


def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.answer("{}")
        exchange.hang_up()

    with serve(handle) as server:
        conversation = converse(server)
        for _ in range(3):
            assert conversation.get(server.url, deadline=soon()).ok
            time.sleep(0.02)


def test_cookies_live_as_long_as_a_conversation() -> None:
    """A Space with replicas finds a job by the cookie of its first answer."""
    with serve(status(200, {}, Set_Cookie="replica=a7; Path=/")) as server:
        transport = new_transport()
        for _ in range(2):
            conversation = transport.converse(server.url, {})
            for _ in range(2):
                conversation.get(server.url, deadline=soon())
        assert [each.headers.get("cookie") for each in server.requests] == [None, "replica=a7"] * 2


# ---------------------------------------------------------------------- one origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Host.Example/a", ("https", "host.example", 443)),
        ("https://host.example:443/b", ("https", "host.example", 443)),
        ("http://host.example", ("http", "host.example", 80)),
        ("http://host.example:8080", ("http", "host.example", 8080)),
        ("http://user:pw@host.example/", ("http", "host.example", 80)),
        ("ftp://host.example", ("ftp", "host.example", None)),
        ("/path", ("", "", None)),
        ("http://[", ("", "", None)),
        ("http://host:99999", ("", "", None)),
        ("http://host:abc", ("", "", None)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int | None]) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example\\@good.example/x",
        "https://evil.example/@good.example/x",
        "https://evil.example?@good.example/x",
        "https://evil.example#@good.example/x",
        "https://good.example@evil.example/x",
        "https://good.example:pw@evil.example/x",
        "https://good.example.evil.example/x",
        "http://good.example/x",
        "https://good.example:8443/x",
        "//evil.example/x",
        "",
    ],
)
def test_a_conversation_owns_what_the_socket_would_reach_and_nothing_else(url: str) -> None:
    """`urlsplit` and urllib3 disagree on the first one; the token went to the host that urllib3 sees."""
    conversation = new_transport().converse("https://good.example", {})
    assert not conversation.owns(url)
    assert conversation.owns("https://GOOD.example:443/any")
    with pytest.raises(EngineError):
        conversation.get(url, deadline=soon(0.2))


def test_a_redirect_within_the_origin_is_followed() -> None:
    table = {
        "/a": status(307, {}, Location="/b"),
        "/b": status(308, {}, Location="c"),
        "/c": lambda exchange: exchange.answer(exchange.body),
        "/see": status(303, {}, Location="/final"),
        "/final": lambda exchange: exchange.answer(exchange.method),
    }
    with serve(Routes(table)) as server:
        conversation = converse(server)
        assert conversation.post(f"{server.url}/a", {"x": 1}, deadline=soon()).body == b'{"x":1}'
        assert conversation.post(f"{server.url}/see", {"x": 1}, deadline=soon()).body == b"GET"


def test_a_redirect_to_another_host_is_refused_and_hears_nothing() -> None:
    with serve(status(200)) as other, serve(status(302, {}, Location=f"{other.url}/steal")) as server:
        conversation = converse(server, X_HF_Authorization="Bearer t")
        with pytest.raises(UpstreamRejected, match="another host"):
            conversation.get(server.url, deadline=soon())
        assert other.requests == []


@pytest.mark.parametrize("location", ["http://[", "http://host:port/", "\\\\evil.example", "https://[::1", "//"])
def test_a_redirect_to_nonsense_is_an_error_of_the_catalogue(location: str) -> None:
    assert isinstance(failure_of(status(302, {}, Location=location)), EngineError)


def test_a_redirect_in_a_circle_ends() -> None:
    with serve(status(302, {}, Location="/again")) as server:
        with pytest.raises(UpstreamBadResponse, match="circle"):
            converse(server).get(server.url, deadline=soon())
        assert len(server.requests) == 4


def test_a_redirect_without_a_place_is_an_answer() -> None:
    assert fetch(status(302, b"where?")).status == 302


def test_the_body_of_a_redirect_is_not_read() -> None:
    """requests reads it to its end, uncapped, even when told not to follow."""

    def endless(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n")
        while True:
            exchange.send(b"x" * 65_536)

    with serve(Routes({"/x": endless, "/y": {"fine": True}})) as server:
        answer = converse(server).get(f"{server.url}/x", deadline=soon())
    assert answer.json() == {"fine": True}


# ---------------------------------------------------------------------- deadlines


@pytest.mark.parametrize(
    "handle",
    [
        drip(b"x" * 1_000, first=HEAD + b"Content-Length: 1000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000),
        drip(b"1\r\nx\r\n" * 300, first=HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        say_nothing,
    ],
    ids=["body", "headers", "chunks", "silence"],
)
def test_the_deadline_holds_however_slowly_bytes_come(handle: Handler) -> None:
    started_s = time.monotonic()
    error = failure_of(handle, deadline=soon(0.3))
    assert isinstance(error, UpstreamTimeout)
    assert 0.25 < time.monotonic() - started_s < 0.8


def test_silence_is_limited_long_before_the_deadline() -> None:
    with serve(say_nothing) as server:
        conversation = new_transport(silence_timeout_s=0.15).converse(server.url, {})
        with pytest.raises(UpstreamTimeout, match="silent") as failure:
            conversation.get(server.url, deadline=soon(60))
    assert failure.value.repeat


def test_silence_in_the_middle_of_a_body_is_a_timeout_too() -> None:
    """requests calls it a ConnectionError."""

    def handle(exchange: Exchange) -> None:
        exchange.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        time.sleep(0.5)

    with serve(handle) as server:
        conversation = new_transport(silence_timeout_s=0.15).converse(server.url, {})
        with pytest.raises(UpstreamTimeout, match="silent"):
            conversation.get(server.url, deadline=soon(60))


def test_nothing_is_sent_once_the_deadline_has_passed() -> None:
    with serve(status(200)) as server:
        with pytest.raises(UpstreamTimeout):
            converse(server).get(server.url, deadline=soon(-1))
        assert server.requests == []


def test_a_slow_name_lookup_does_not_outlast_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket timeout covers it, and it cannot be interrupted."""
    with serve(status(200)) as server:
        lookup, asked = socket.getaddrinfo, threading.Event()

        def slow(*args: object, **options: object) -> object:
            time.sleep(1.5)
            asked.set()
            return lookup(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        conversation = new_transport(connect_timeout_s=0.1).converse(server.url, {})
        started_s = time.monotonic()
        with pytest.raises(UpstreamUnavailable, match="cannot be reached in time"):
            conversation.get(server.url, deadline=soon(60))
        assert time.monotonic() - started_s < 1.2
        assert asked.wait(5), "the lookup goes on alone"
        time.sleep(0.05)
        assert server.requests == [], "what it opened too late is closed unused"


def test_a_slow_name_lookup_does_not_outlast_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: object, **options: object) -> object:
        time.sleep(0.3)
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started_s = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        new_transport().converse("http://localhost:9", {}).get("http://localhost:9", deadline=soon(0.1))
    assert time.monotonic() - started_s < 0.28
    time.sleep(0.25)


# ---------------------------------------------------------------------- caps and damage


@pytest.mark.parametrize(
    "handle",
    [
        raw(HEAD + b"Content-Length: 10001\r\n\r\n" + b"x" * 10_001),
        raw(HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nx"),
        raw(HEAD + b"Content-Length: 99999999999999999999\r\n\r\nx"),
        raw(chunked(b"x" * 10_001, size=1_000)),
        raw(HEAD + b"\r\n" + b"x" * 10_001),
        raw(chunked(gzip.compress(b"x" * 5_000_000), Content_Encoding="gzip")),
        raw(chunked(zlib.compress(b"x" * 5_000_000), Content_Encoding="deflate")),
    ],
    ids=[
        "declared",
        "absurd length",
        "longer than any integer",
        "chunked",
        "until closed",
        "gzip bomb",
        "deflate bomb",
    ],
)
def test_an_answer_over_the_cap_is_not_read(handle: Handler) -> None:
    error = failure_of(handle)
    assert isinstance(error, UpstreamBadResponse)
    assert "larger than 10000 bytes" in error.detail
    assert not error.repeat


def test_an_answer_of_exactly_the_cap_is_read() -> None:
    assert fetch(raw(HEAD + b"Content-Length: 10000\r\n\r\n" + b"x" * 10_000)).body == b"x" * 10_000


def test_a_compressed_answer_is_read_though_nobody_asked_for_it() -> None:
    assert fetch(raw(chunked(gzip.compress(b"hello"), size=3, Content_Encoding="gzip"))).body == b"hello"


@pytest.mark.parametrize(
    ("content", "row", "repeat"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\nhalf", UpstreamBadResponse, True),
        (chunked(b"half", end=b""), UpstreamBadResponse, True),
        (chunked(b"half", end=b"5\r\nab"), UpstreamBadResponse, True),
        (chunked(b"not gzip", Content_Encoding="gzip"), UpstreamBadResponse, False),
        (b"", UpstreamUnavailable, True),
        (b"SSH-2.0-OpenSSH\r\n", UpstreamBadResponse, False),
        (b"HTTP/1.1 abc\r\n\r\n", UpstreamBadResponse, False),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", UpstreamBadResponse, False),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", UpstreamBadResponse, False),
    ],
    ids=[
        "short body",
        "chunks without an end",
        "cut chunk",
        "not gzip",
        "nothing",
        "another protocol",
        "no status",
        "too many headers",
        "a long header",
    ],
)
def test_damage_on_the_wire_is_an_error_that_says_whether_to_repeat(
    content: bytes, row: type[EngineError], repeat: bool
) -> None:
    error = failure_of(raw(content))
    assert (type(error), error.repeat) == (row, repeat)
    assert error.log_text


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_two_lengths_are_no_length() -> None:
    """urllib3 leaves the response that it refuses for this to the garbage collector, which warns of its socket."""
    error = failure_of(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello"))
    assert isinstance(error, UpstreamBadResponse)
    del error
    gc.collect()


def test_a_reset_in_the_middle_of_a_body_is_a_cut_answer() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        time.sleep(0.05)
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        exchange.hang_up()

    error = failure_of(handle)
    assert (type(error), error.repeat) == (UpstreamBadResponse, True)


def test_nobody_listening_is_unavailable() -> None:
    with serve(status(200)) as server:
        url = server.url
    with pytest.raises(UpstreamUnavailable, match="refuses") as failure:
        new_transport().converse(url, {}).get(url, deadline=soon())
    assert failure.value.repeat


def test_an_unknown_name_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UpstreamUnavailable, match="host name is not known"):
        new_transport().converse("http://localhost:9", {}).get("http://localhost:9", deadline=soon())


def test_a_server_without_tls_is_an_error_of_the_catalogue() -> None:
    with serve(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(UpstreamUnavailable):
            new_transport().converse(url, {}).get(url, deadline=soon())


# ---------------------------------------------------------------------- event streams


def events_of(handle: Handler, *, limit_bytes: int = 2**20) -> list[Event]:
    with serve(handle) as server:
        conversation = new_transport(limit_bytes=limit_bytes).converse(server.url, {})
        with conversation.open("GET", server.url, deadline=soon()) as incoming:
            return list(incoming.events())


STREAM = (
    b"event: generating\r\ndata: one\r\n\r\n"
    b": a comment\nid: 7\nretry: 10\n\n"
    b"data: two\ndata:three\ndata\n\n"
    b"event: empty\n\n"
    b"event: complete\ndata: \xc3\xa9 : x\n\n"
    b"data: never finished\n"
)
EVENTS = [Event("generating", b"one"), Event("", b"two\nthree\n"), Event("complete", "é : x".encode())]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 1_000])
def test_events_are_read_however_they_are_cut_into_chunks(size: int) -> None:
    assert events_of(raw(chunked(STREAM, size=size))) == EVENTS


def test_events_are_read_when_cut_in_two_at_any_byte() -> None:
    def handle(exchange: Exchange) -> None:
        at = int(exchange.path[1:])
        exchange.send(chunked(STREAM[:at], end=b"%x\r\n%s\r\n0\r\n\r\n" % (len(STREAM) - at, STREAM[at:])))

    with serve(handle) as server:
        conversation = converse(server)
        for at in range(1, len(STREAM)):
            with conversation.open("GET", f"{server.url}/{at}", deadline=soon()) as incoming:
                assert list(incoming.events()) == EVENTS, at


def test_events_come_one_by_one_while_the_stream_goes_on() -> None:
    go_on = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.send(chunked(b"data: first\n\n", end=b""))
        go_on.wait(2)
        exchange.send(b"f\r\ndata: second\n\n\n\r\n0\r\n\r\n")

    with serve(handle) as server, converse(server).open("GET", server.url, deadline=soon()) as incoming:
        events = incoming.events()
        assert next(events) == Event("", b"first")
        go_on.set()
        assert [event.data for event in events] == [b"second"]


def test_a_line_of_megabytes_is_read_quickly() -> None:
    """`iter_lines` of requests needs minutes of work for 12 MB."""
    line = b"data: " + b"x" * 12_000_000 + b"\n\n"
    started_s = time.thread_time()
    (event,) = events_of(event_stream(line), limit_bytes=20_000_000)
    assert time.thread_time() - started_s < 0.8
    assert len(event.data) == 12_000_000


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 2_000, b"data: x\n" * 600, b"data:\n" * 2_000, b"x" * 2_000],
    ids=["one line", "many lines", "empty lines", "no event at all"],
)
def test_an_event_over_the_cap_is_not_kept(stream: bytes) -> None:
    with pytest.raises(UpstreamBadResponse, match="larger than 1000 bytes"):
        events_of(event_stream(stream), limit_bytes=1_000)


def test_a_long_stream_of_small_events_is_no_large_answer() -> None:
    assert len(events_of(event_stream(b"data: heartbeat\n\n" * 500), limit_bytes=1_000)) == 500


def test_a_compressed_stream_is_read() -> None:
    assert events_of(raw(chunked(gzip.compress(STREAM), size=10, Content_Encoding="gzip"))) == EVENTS


def test_a_stream_that_is_cut_says_so_after_its_events() -> None:
    with (
        serve(raw(chunked(b"data: one\n\n", end=b""))) as server,
        converse(server).open("GET", server.url, deadline=soon()) as incoming,
    ):
        events = incoming.events()
        assert next(events) == Event("", b"one")
        with pytest.raises(UpstreamBadResponse, match="cut off") as failure:
            next(events)
    assert failure.value.repeat


def test_the_deadline_holds_while_heartbeats_go_on() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.send(chunked(b"", end=b"", Content_Type="text/event-stream"))
        while True:
            exchange.send(b"6\r\ndata:\n\r\n")
            time.sleep(0.02)

    with serve(handle) as server:
        started_s = time.monotonic()
        with (
            pytest.raises(UpstreamTimeout),
            converse(server).open("GET", server.url, deadline=soon(0.2)) as incoming,
        ):
            list(incoming.events())
        assert time.monotonic() - started_s < 0.6


# ---------------------------------------------------------------------- everything that may be raised


def exception_classes(*modules: ModuleType) -> list[type[BaseException]]:
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    errors = [each for each in classes if issubclass(each, Exception) and not issubclass(each, Warning)]
    return sorted(errors, key=lambda each: (each.__module__, each.__name__))


def raised(error_class: type[BaseException]) -> BaseException:
    """Return an object of the class, whatever its constructor wants."""
    special: dict[type[BaseException], Callable[[], BaseException]] = {
        http.client.IncompleteRead: lambda: http.client.IncompleteRead(b""),
        urllib3.exceptions.IncompleteRead: lambda: urllib3.exceptions.IncompleteRead(1, 2),
        urllib3.exceptions.InvalidChunkLength: lambda: urllib3.exceptions.InvalidChunkLength(
            urllib3.HTTPResponse(b""), b"x"
        ),
    }
    if error_class in special:
        return special[error_class]()
    error = error_class.__new__(error_class)
    error.args = ("something went wrong",)
    return error


@pytest.mark.parametrize(
    "error_class",
    exception_classes(requests.exceptions, urllib3.exceptions, http.client),
    ids=lambda each: f"{each.__module__}.{each.__name__}",
)
@pytest.mark.parametrize("reading_body", [False, True])
def test_everything_the_libraries_raise_becomes_an_error_of_the_catalogue(
    error_class: type[BaseException], reading_body: bool
) -> None:
    error = translate(raised(error_class), None, reading_body=reading_body)
    assert isinstance(error, EngineError)
    assert error.detail
    assert error.log_text is not None


@pytest.mark.parametrize(
    ("error", "row"),
    [
        (requests.ConnectTimeout(), UpstreamUnavailable),
        (requests.ReadTimeout(), UpstreamTimeout),
        (requests.Timeout(), UpstreamTimeout),
        (requests.ConnectionError(), UpstreamUnavailable),
        (requests.exceptions.ChunkedEncodingError(), UpstreamBadResponse),
        (requests.exceptions.ContentDecodingError(), UpstreamBadResponse),
        (requests.exceptions.InvalidURL(), UpstreamRejected),
        (requests.exceptions.InvalidHeader(), UpstreamRejected),
        (requests.exceptions.MissingSchema(), UpstreamRejected),
        (requests.exceptions.SSLError(), UpstreamUnavailable),
        (http.client.BadStatusLine("x"), UpstreamBadResponse),
        (http.client.RemoteDisconnected("x"), UpstreamUnavailable),
        (http.client.IncompleteRead(b""), UpstreamBadResponse),
        (TimeoutError(), UpstreamTimeout),
        (socket.gaierror(), UpstreamUnavailable),
        (ConnectionResetError(), UpstreamUnavailable),
        (OSError("odd"), UpstreamUnavailable),
        (requests.ConnectionError(urllib3.exceptions.ProtocolError("x", ConnectionResetError())), UpstreamUnavailable),
    ],
    ids=repr,
)
def test_the_cause_decides_which_error_it_is(error: BaseException, row: type[EngineError]) -> None:
    assert type(translate(error, None)) is row


def test_a_passed_deadline_outweighs_every_cause() -> None:
    assert isinstance(translate(ConnectionResetError(), soon(-1)), UpstreamTimeout)


def test_a_bad_certificate_is_not_tried_again() -> None:
    error = translate(requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")), None)
    assert (type(error), error.repeat) == (UpstreamUnavailable, False)
    assert "certificate" in error.detail


def test_causes_that_hold_each_other_are_looked_at_once() -> None:
    one, two = OSError("one"), OSError("two")
    one.__cause__, two.__cause__ = two, one
    assert isinstance(translate(one, None), UpstreamUnavailable)


def test_threads_do_not_share_their_deadlines() -> None:
    with serve(Routes({"/slow": drip(b"ok", every_s=0.2, first=HEAD + b"Content-Length: 2\r\n\r\n")})) as server:
        transport = new_transport()
        results: list[object] = []

        def patient() -> None:
            conversation = transport.converse(server.url, {})
            results.append(conversation.get(f"{server.url}/slow", deadline=soon(5)).body)

        thread = threading.Thread(target=patient)
        thread.start()
        with pytest.raises(UpstreamTimeout):
            transport.converse(server.url, {}).get(f"{server.url}/slow", deadline=soon(0.1))
        thread.join(3)
    assert results == [b"ok"]


# ---------------------------------------------------------------------- cancelling


def cancelled_in(seconds: float, timeout_s: float = 30.0) -> Deadline:
    """Return a deadline that is cancelled so many seconds from now."""
    event = threading.Event()
    threading.Timer(seconds, event.set).start()
    return Deadline.after(timeout_s, cancelled=event)


def wait_for_the_client_to_leave(exchange: Exchange) -> None:
    exchange.connection.recv(1)


def then_silence(content: bytes) -> Handler:
    def handle(exchange: Exchange) -> None:
        exchange.send(content)
        wait_for_the_client_to_leave(exchange)

    return handle


@pytest.mark.parametrize(
    "handle",
    [
        wait_for_the_client_to_leave,
        then_silence(b"HTTP/1.1 200"),
        then_silence(HEAD + b"Content-Length: 100\r\n\r\nhalf"),
        then_silence(chunked(b"half", end=b"5\r\nab")),
        drip(b"x" * 1_000, every_s=0.02, first=HEAD + b"Content-Length: 1000\r\n\r\n"),
    ],
    ids=["before the answer", "in the headers", "in the body", "in a chunk", "in a drip-fed body"],
)
def test_a_cancelled_deadline_ends_every_wait_for_an_answer(handle: Handler) -> None:
    started_s = time.monotonic()
    with serve(handle) as server, pytest.raises(Cancelled):
        new_transport(silence_timeout_s=60).converse(server.url, {}).get(server.url, deadline=cancelled_in(0.1))
    assert time.monotonic() - started_s < 0.6


def test_a_cancelled_deadline_ends_the_wait_for_the_next_event() -> None:
    started_s = time.monotonic()
    with (
        serve(then_silence(chunked(b"data: one\n\n", end=b""))) as server,
        pytest.raises(Cancelled),
        converse(server).open("GET", server.url, deadline=cancelled_in(0.1)) as incoming,
    ):
        list(incoming.events())
    assert time.monotonic() - started_s < 0.6


def test_a_cancelled_deadline_ends_a_name_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def hang(*args: object, **options: object) -> object:
        go_on.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        new_transport().converse("http://localhost:9", {}).get("http://localhost:9", deadline=cancelled_in(0.1))
    assert time.monotonic() - started_s < 0.6
    go_on.set()


def test_nothing_is_asked_once_the_deadline_is_cancelled() -> None:
    event = threading.Event()
    event.set()
    with serve(status(200)) as server, pytest.raises(Cancelled):
        converse(server).get(server.url, deadline=Deadline.after(5, cancelled=event))
    assert server.requests == []


def test_waiting_for_what_can_be_cancelled_costs_no_work() -> None:
    started_s = time.thread_time()
    with serve(wait_for_the_client_to_leave) as server, pytest.raises(Cancelled):
        converse(server).get(server.url, deadline=cancelled_in(1.0))
    assert time.thread_time() - started_s < 0.1


def test_an_answer_in_time_arrives_whole_although_it_could_be_cancelled() -> None:
    body = bytes(range(256)) * 30

    def handle(exchange: Exchange) -> None:
        exchange.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in (0, 1, 5_000):
            time.sleep(0.3)  # longer than the pieces in which the client waits
            exchange.send(body[at : {0: 1, 1: 5_000}.get(at)])

    deadline = Deadline.after(10, cancelled=threading.Event())
    assert fetch(handle, deadline=deadline).body == body


def test_a_connection_that_opens_in_the_moment_of_giving_up_is_closed() -> None:
    ours, theirs = socket.socketpair()

    class Impatient(Limits):
        def waits_s(self, timeout_s: float) -> Iterator[float]:
            for thread in threading.enumerate():
                if thread.name == "upstream-connect":
                    thread.join(5)
            return iter(())

    connection = urllib3.connection.HTTPConnection("127.0.0.1", timeout=1)
    with theirs, pytest.raises(urllib3.exceptions.ConnectTimeoutError):
        _connect_in_time(lambda: ours, connection, Impatient())
    assert ours.fileno() == -1


def test_tls_may_have_to_write_before_it_can_read() -> None:
    outcomes: list[Exception | bytes] = [ssl.SSLWantWriteError(), ssl.SSLWantReadError(), b"read"]

    def operation() -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        assert Limits().when_ready(ours, 5, operation) == b"read"
