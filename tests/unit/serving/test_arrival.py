"""When a request is complete: held against gunicorn's own parser, which must never want more than was collected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from app.serving.arrival import MAX_HEAD_BYTES, READ_AHEAD_BYTES, Arrival

MAX_BODY_BYTES = 1_000
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def arrive(*pieces: bytes) -> Arrival:
    """Feed the pieces, as the worker does: until nothing more is wanted."""
    arrival = Arrival(max_body_bytes=MAX_BODY_BYTES)
    for piece in pieces:
        if arrival.is_ready or arrival.is_oversized:
            break
        arrival.feed(piece)
    return arrival


def one_by_one(content: bytes) -> Iterator[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


def chunks(*bodies: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in bodies) + b"0\r\n" + trailers + b"\r\n"


WHOLE = {
    "no body": POST + b"\r\n",
    "no headers": b"GET / HTTP/1.0\r\n\r\n",
    "empty line first": b"\r\nGET / HTTP/1.1\r\n\r\n",
    "length": POST + b"Content-Length: 5\r\n\r\nhello",
    "length of nothing": POST + b"Content-Length: 0\r\n\r\n",
    "largest length": POST + b"content-LENGTH:\t1000 \r\n\r\n" + b"x" * 1_000,
    "one chunk": CHUNKED + chunks(b"hello"),
    "chunks": CHUNKED + chunks(b"he", b"l" * 300, b"\r\n\r\n0\r\n\r\n"),
    "no chunk": CHUNKED + chunks(),
    "trailers": CHUNKED + chunks(b"hello", trailers=b"A: b\r\nC: d\r\n"),
    "extension": CHUNKED + b"5;a=b\r\nhello\r\n000;c\r\n\r\n",
    "chunked in capitals": POST + b"TRANSFER-ENCODING: Chunked\r\n\r\n" + chunks(b"a"),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_request_is_whole_with_its_last_byte_and_not_before(content: bytes) -> None:
    assert arrive(content).is_whole
    assert arrive(*one_by_one(content)).is_whole
    for end in range(1, len(content)):
        before = arrive(content[:end])
        assert not before.is_ready, content[:end]
        assert not before.is_oversized


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=80), max_size=8),
    trailers=st.sampled_from([b"", b"X-A: 1\r\n"]),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    following=st.sampled_from([b"", b"GET /next HTTP/1.1\r\n\r\n"]),
    counted=st.booleans(),
)
def test_what_is_whole_is_read_by_gunicorn_without_waiting(
    bodies: list[bytes], trailers: bytes, cuts: list[int], following: bytes, counted: bool
) -> None:
    body = b"".join(bodies)
    content = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    if not counted:
        content = CHUNKED + chunks(*bodies, trailers=trailers)
    content += following
    ends = sorted({*(each for each in cuts if each < len(content)), len(content)})

    arrival = arrive(*(content[start:end] for start, end in zip([0, *ends], ends, strict=False)))

    assert arrival.is_whole
    parser = RequestParser(Config(), iter([bytes(arrival.content)]), ("127.0.0.1", 1))
    request = next(parser)
    assert request.body.read() == body
    assert following.startswith(parser.unreader.take_buffered())


@given(content=st.lists(st.sampled_from([POST, CHUNKED, b"\r\n", b"\n", b"5", b"0", b"\r\n\r\n", b": ", b"x" * 300])))
def test_anything_may_arrive(content: list[bytes]) -> None:
    arrival = arrive(*content)

    assert arrival.is_ready or not arrival.is_whole
    assert len(arrival.content) <= sum(map(len, content))


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1001\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
    ],
)
def test_what_will_be_refused_is_not_waited_for(head: bytes) -> None:
    arrival = arrive(POST + head + b"\r\n")

    assert arrival.is_ready
    assert not arrival.is_whole


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"-5\r\n", b"\r\n", b"1" * 300, b"5\r\nhello\r\nzz\r\n", b"0\r\n" + b"A: b\r\n" * 6_000]
)
def test_broken_chunks_are_not_waited_for(body: bytes) -> None:
    arrival = arrive(CHUNKED + body)

    assert arrival.is_ready
    assert not arrival.is_whole


def test_chunks_are_collected_until_their_excess_shows() -> None:
    sent = 0
    arrival = arrive(CHUNKED + b"fffff\r\n")
    while not arrival.is_ready:
        arrival.feed(b"x" * 100)
        sent += 100

    assert MAX_BODY_BYTES + READ_AHEAD_BYTES < sent <= MAX_BODY_BYTES + READ_AHEAD_BYTES + 100
    assert not arrival.is_whole


def test_chunks_that_are_mostly_overhead_end_too() -> None:
    arrival = arrive(CHUNKED)
    while not arrival.is_ready:
        arrival.feed(b"1;" + b"e" * 200 + b"\r\nx\r\n")

    assert not arrival.is_whole
    assert len(arrival.content) < READ_AHEAD_BYTES + 500


def test_chunks_of_one_byte_end_before_they_are_many() -> None:
    arrival = Arrival(max_body_bytes=64 * 1024)
    arrival.feed(CHUNKED)
    count = 0
    while not arrival.is_ready:
        arrival.feed(b"1\r\nx\r\n")
        count += 1

    assert not arrival.is_whole
    assert count <= READ_AHEAD_BYTES // 4 + 2


def test_chunks_that_are_half_overhead_are_read() -> None:
    assert arrive(CHUNKED + chunks(*[b"hello"] * (MAX_BODY_BYTES // 5))).is_whole


@pytest.mark.parametrize(
    ("content", "has"),
    [
        (POST + b"\r\n", False),
        (POST + b"Content-Length: 0\r\n\r\n", False),
        (POST + b"Content-Length: 5\r\n\r\nhello", True),
        (POST + b"Content-Length: 5, 5\r\n\r\nhello", True),
        (CHUNKED + chunks(), True),
        (b"GET / HTTP/1.0\n\n", True),
    ],
)
def test_whether_there_is_a_body_is_known_from_the_head(content: bytes, has: bool) -> None:
    assert arrive(content).has_body is has


def test_a_head_without_end_is_oversized() -> None:
    arrival = arrive(b"GET / HTTP/1.1\r\n", *[b"X: " + b"a" * 1_000 + b"\r\n"] * 100)

    assert arrival.is_oversized
    assert not arrival.is_ready
    assert len(arrival.content) <= MAX_HEAD_BYTES + 1_005


@pytest.mark.parametrize("content", [b"GET / HTTP/1.0\n\n", b"GET / HTTP/1.1\r\nHost: x\nA: b"])
def test_a_bare_line_feed_is_for_the_parser_to_refuse(content: bytes) -> None:
    assert arrive(content).is_ready
    assert arrive(*one_by_one(content)).is_ready


def test_a_carriage_return_may_come_before_its_line_feed() -> None:
    assert not arrive(b"GET / HTTP/1.1\r", b"\nHost: x\r", b"\n").is_ready


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_sender_may_ask_before_sending_the_body(framing: bytes) -> None:
    arrival = arrive(POST + framing, b"Expect: 100-Continue\r\n")
    assert not arrival.awaits_continue
    arrival.feed(b"\r\n")
    assert arrival.awaits_continue
    arrival.feed(b"5")
    assert not arrival.awaits_continue, "the sender has gone on without waiting"


@pytest.mark.parametrize(
    "content",
    [
        POST + b"Content-Length: 5\r\n\r\n",
        POST + b"Expect: 100-continue\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n",
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_nobody_else_is_told_to_continue(content: bytes) -> None:
    assert not arrive(content).awaits_continue


@pytest.mark.parametrize(
    ("content", "has"), [(b"", False), (b"\r\n", False), (b"GE", False), (b"GET / HTTP/1.1\r\nHo", True)]
)
def test_an_answer_needs_somebody_who_asked(content: bytes, has: bool) -> None:
    assert arrive(content).has_request_line is has


# ---------------------------------------------------------------------- routes that take more

LARGER = ((b"PUT /runs/", 5_000), (b"POST /log", 4_000))


@pytest.mark.parametrize(
    ("line", "limit_bytes"),
    [
        (b"POST /log HTTP/1.1", 4_000),
        (b"POST /log?x=1 HTTP/1.1", 4_000),
        (b"\r\nPUT /runs/7 HTTP/1.1", 5_000),
        (b"PUT /log HTTP/1.1", MAX_BODY_BYTES),
        (b"POST /else/log HTTP/1.1", MAX_BODY_BYTES),
        (b"POST http://x/log HTTP/1.1", MAX_BODY_BYTES),
    ],
)
@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"])
def test_a_route_may_take_more(line: bytes, limit_bytes: int, framing: bytes) -> None:
    for length, is_refused in ((limit_bytes, False), (limit_bytes + READ_AHEAD_BYTES + 2, True)):
        arrival = Arrival(max_body_bytes=MAX_BODY_BYTES, larger=LARGER)
        arrival.feed(line + b"\r\nHost: x\r\n" + framing % length + b"x" * (length - 1))

        assert arrival.is_ready == is_refused
        assert not arrival.is_whole
