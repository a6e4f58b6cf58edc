"""Trace: which distributed trace the work at hand belongs to, from whoever called us to whom we call.

A caller's `traceparent` and `tracestate` are checked and passed on, with an id of our own for each
request in the place of the caller's; without them a trace begins here. We keep no spans ourselves:
the id of the trace stands on each line of the log (`trace_id`), and that is all there is to look up.

Source: W3C Trace Context Level 2, https://www.w3.org/TR/2024/CRD-trace-context-2-20240328/, read 2026-11; what it
adds to the Recommendation, https://www.w3.org/TR/trace-context-1/, is the flag for random ids.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import structlog

MAX_STATE_CHARS: Final = 512
"""What is passed on of `tracestate`; the standard wants at least this much."""

_MAX_STATE_MEMBERS: Final = 32
_LONG_MEMBER_CHARS: Final = 128
"""Members longer than this are the first to go when there are too many characters."""

_LONGEST_READ_STATE_CHARS: Final = 8_192

_SAMPLED: Final = 1
_RANDOM: Final = 2
_DEFINED_FLAGS: Final = _SAMPLED | _RANDOM
"""All others must not be sent."""

_PARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
_MEMBER: Final = re.compile(
    r"(?P<key>[a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Trace:
    """Our place in one trace.

    Attributes:
        trace_id: 32 hex digits.
        flags: Those that are passed on: whether whoever began the trace records it, and whether its id is random.
        state: What tracing systems left for each other, at most `MAX_STATE_CHARS` characters, possibly none.
    """

    trace_id: str
    flags: int
    state: str = ""

    @classmethod
    def begin(cls) -> Trace:
        """Return a new trace, which nobody records so far."""
        return cls(_new_id(16), _RANDOM)

    @classmethod
    def after(cls, traceparent: str, tracestate: str = "") -> Trace:
        """Return the trace of whoever sent these headers, or a new one.

        Args:
            traceparent: The header, "" when there was none; with one that is not understood a trace begins.
            tracestate: The header, several of them joined by commas; what is not understood is dropped whole.
        """
        found = _PARENT.fullmatch(traceparent.strip(" \t"))
        if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
            return cls.begin()
        if not (found["trace"].strip("0") and found["parent"].strip("0")):
            return cls.begin()
        return cls(found["trace"], int(found["flags"], 16) & _DEFINED_FLAGS, _state(tracestate))

    def headers(self) -> dict[str, str]:
        """Return what the next request carries, which gets an id of its own as the parent of whatever comes of it."""
        parent = f"00-{self.trace_id}-{_new_id(8)}-{self.flags:02x}"
        return {"traceparent": parent, **({"tracestate": self.state} if self.state else {})}


def _new_id(size_bytes: int) -> str:
    """Return random hex digits that are not all zero."""
    return f"{secrets.randbelow(256**size_bytes - 1) + 1:0{size_bytes * 2}x}"


def _state(tracestate: str) -> str:
    if len(tracestate) > _LONGEST_READ_STATE_CHARS:
        return ""
    members: dict[str, str] = {}
    for each in tracestate.split(","):
        if member := each.strip(" \t"):
            found = _MEMBER.fullmatch(member)
            if found is None:
                return ""
            members.setdefault(found["key"], member)  # the first is the latest, and a key may come only once
    return ",".join(_shortened(list(members.values()))) if len(members) <= _MAX_STATE_MEMBERS else ""


def _shortened(members: list[str]) -> list[str]:
    if _joined_chars(members) > MAX_STATE_CHARS:
        members = [member for member in members if len(member) <= _LONG_MEMBER_CHARS]
    while _joined_chars(members) > MAX_STATE_CHARS:
        members.pop()
    return members


def _joined_chars(members: list[str]) -> int:
    return sum(map(len, members)) + max(len(members) - 1, 0)


# ---------------------------------------------------------------------- the work at hand

_current: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)


def enter(trace: Trace) -> None:
    """Let what happens from now on in this thread belong to the trace."""
    _current.set(trace)
    structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)


def leave() -> None:
    """Let what happens from now on in this thread belong to no trace."""
    _current.set(None)
    structlog.contextvars.unbind_contextvars("trace_id")


@contextmanager
def following(trace: Trace) -> Iterator[None]:
    """Let what happens in the block belong to the trace."""
    enter(trace)
    try:
        yield
    finally:
        leave()


def outgoing_headers() -> dict[str, str]:
    """Return what a request carries that is made for the work at hand: its request id and its trace, if it has them."""
    request_id, trace = structlog.contextvars.get_contextvars().get("request_id"), _current.get()
    return {
        **({"X-Request-ID": request_id} if isinstance(request_id, str) else {}),
        **(trace.headers() if trace else {}),
    }
