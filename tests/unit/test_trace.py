"""Trace: whoever calls us and whoever we call see one trace, whatever is sent in its place."""

from __future__ import annotations

import re
import threading

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from unit.engines.huggingface.hf_wire import converse, serve, status

from app import trace
from app.retry import Deadline
from app.trace import MAX_STATE_CHARS, Trace

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


@pytest.fixture(autouse=True)
def _nothing_left_over() -> None:
    structlog.contextvars.clear_contextvars()
    trace.leave()


def state_after(state: str) -> str:
    found = Trace.after(PARENT, state)
    assert found.trace_id == TRACE_ID, "a state that is not understood says nothing about the trace"
    return found.state


# ---------------------------------------------------------------------- traceparent


def test_a_trace_goes_on_with_an_id_of_our_own_for_each_request() -> None:
    found = Trace.after(PARENT)
    sent = [found.headers()["traceparent"] for _ in range(20)]

    ids = {re.fullmatch(rf"00-{TRACE_ID}-([0-9a-f]{{16}})-01", each)[1] for each in sent}  # type: ignore[index]
    assert len(ids) == 20
    assert PARENT_ID not in ids


@pytest.mark.parametrize(
    ("flags", "sent"), [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
)
def test_only_flags_that_are_defined_are_passed_on(flags: str, sent: str) -> None:
    assert Trace.after(PARENT[:-2] + flags).headers()["traceparent"].endswith(f"-{sent}")


@pytest.mark.parametrize("version", ["cc", "01", "fe"])
@pytest.mark.parametrize("more", ["", "-", "-what-the-future-holds", "-é"])
def test_what_a_later_version_adds_is_left_out(version: str, more: str) -> None:
    sent = Trace.after(version + PARENT[2:] + more).headers()["traceparent"]

    assert re.fullmatch(rf"00-{TRACE_ID}-[0-9a-f]{{16}}-01", sent)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        PARENT.upper(),
        "ff" + PARENT[2:],
        "0" + PARENT[2:],
        PARENT + "-",
        PARENT + "-more",
        PARENT + "0",
        "cc" + PARENT[2:] + ".",
        PARENT[:-1],
        PARENT.replace("-", "_"),
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-0x",
        f"00-{TRACE_ID}-{PARENT_ID}-٠١",
        f"00-{TRACE_ID[:-1]}.-{PARENT_ID}-01",
        f"{PARENT},{PARENT}",
        PARENT + "\n",
        PARENT * 1_000,
    ],
)
def test_what_is_not_understood_begins_anew(header: str) -> None:
    found = Trace.after(header, "congo=t61rcWkgMzE")

    assert re.fullmatch(r"[0-9a-f]{32}", found.trace_id)
    assert found.trace_id != TRACE_ID
    sent = found.headers()
    assert re.fullmatch(rf"00-{found.trace_id}-[0-9a-f]{{16}}-02", sent["traceparent"])
    assert set(sent) == {"traceparent"}, "the state went with it"


def test_blanks_around_it_do_not_matter() -> None:
    assert Trace.after(f" {PARENT}\t").trace_id == TRACE_ID


def test_no_two_traces_are_the_same() -> None:
    assert len({Trace.begin().trace_id for _ in range(100)}) == 100


# ---------------------------------------------------------------------- tracestate


@pytest.mark.parametrize(
    ("state", "sent"),
    [
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=1,congo=2", "rojo=1,congo=2"),
        ("rojo=1 ,\t congo=2 , ,,", "rojo=1,congo=2"),
        ("0tenant@vendor=a:b!", "0tenant@vendor=a:b!"),
        ("k= x y", "k= x y"),
        ("", ""),
        (" , ", ""),
        ("nonsense", ""),
        ("rojo=1,nonsense", ""),
        ("k=", ""),
        ("K=1", ""),
        ("k=a=b", ""),
        ("k=\x07", ""),
        ("k=é", ""),
        ("k=1,k=2,j=3", "k=1,j=3"),
        (f"{'k' * 256}=1", f"{'k' * 256}=1"),
        (f"{'k' * 257}=1", ""),
        (f"k={'v' * 257}", ""),
    ],
)
def test_the_state_is_passed_on_in_its_order_or_not_at_all(state: str, sent: str) -> None:
    assert state_after(state) == sent


def test_there_are_at_most_32_members() -> None:
    members = [f"k{n}=1" for n in range(33)]

    assert state_after(",".join(members[:32])) == ",".join(members[:32])
    assert state_after(",".join(members)) == ""


def test_of_a_long_state_long_members_go_first_and_then_the_last_ones() -> None:
    long, short = "long=" + "v" * 200, [f"k{n:02}={'v' * 30}" for n in range(20)]

    assert state_after(f"{long},{short[0]}") == f"{long},{short[0]}"
    sent = state_after(",".join([short[0], long, *short[1:]])).split(",")
    assert sent == short[: len(sent)]
    assert MAX_STATE_CHARS - 35 < len(",".join(sent)) <= MAX_STATE_CHARS
    assert state_after("k=" + "v" * 10_000) == ""


@given(parent=st.text() | st.just(PARENT), state=st.text())
def test_nothing_that_is_sent_breaks_a_header(parent: str, state: str) -> None:
    for value in Trace.after(parent, state).headers().values():
        assert re.fullmatch(r"[\x20-\x7e]{1,512}", value)


# ---------------------------------------------------------------------- the work at hand


def test_without_work_nothing_is_sent() -> None:
    assert trace.outgoing_headers() == {}


def test_the_block_belongs_to_the_trace_and_its_lines_say_so() -> None:
    with trace.following(Trace.after(PARENT)):
        assert structlog.contextvars.get_contextvars() == {"trace_id": TRACE_ID}
        assert trace.outgoing_headers()["traceparent"].startswith(f"00-{TRACE_ID}-")

    assert structlog.contextvars.get_contextvars() == {}
    assert trace.outgoing_headers() == {}


def test_threads_do_not_share_a_trace() -> None:
    found: list[dict[str, str]] = []
    with trace.following(Trace.after(PARENT)):
        other = threading.Thread(target=lambda: found.append(trace.outgoing_headers()))
        other.start()
        other.join()

    assert found == [{}]


def test_an_upstream_is_told_the_request_and_the_trace() -> None:
    ours = Trace.after(PARENT, "congo=t61rcWkgMzE")
    with serve(status(200)) as server:
        upstream = converse(server)
        with structlog.contextvars.bound_contextvars(request_id="r-1"), trace.following(ours):
            upstream.post(f"{server.url}/x", {}, deadline=Deadline.after(2))
        upstream.get(f"{server.url}/x", deadline=Deadline.after(2))
        asked, later = server.requests

    assert asked.headers["x-request-id"] == "r-1"
    assert re.fullmatch(rf"00-{TRACE_ID}-[0-9a-f]{{16}}-01", asked.headers["traceparent"])
    assert asked.headers["tracestate"] == "congo=t61rcWkgMzE"
    assert asked.headers["content-type"] == "application/json"
    assert not {"x-request-id", "traceparent", "tracestate"} & set(later.headers), "the work is over"
