"""Guard: what holds for every request and every answer, whatever the route."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import suppress
from typing import Final

import structlog
from flask import Flask, Response, g, request

from app.retry import Deadline
from app.web.body import MAX_BODY_BYTES

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH: Final = 200
"""Characters of a path that are logged."""

_HEARD_OUT_BYTES: Final = 8 * 2**20
_HEARD_OUT_S: Final = 2.0
_PIECE_BYTES: Final = 64 * 1024

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_NOTHING_ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def protect(app: Flask, *, deadline_s: float) -> None:
    """Give each request an id, a deadline and a largest body, and each answer its headers and a log line.

    Args:
        deadline_s: Seconds from a request's arrival to the answer.
    """
    # One byte more than is allowed: a body that comes in chunks, and does not say how long it is,
    # would silently be cut at the limit. The extra byte tells `read_json` that there was more.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1

    @app.before_request
    def arrive() -> None:
        g.arrived_s = time.monotonic()
        g.deadline = Deadline.after(deadline_s)
        asked = request.headers.get("X-Request-ID", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def leave(response: Response) -> Response:
        if response.status_code >= 400:
            _hear_out()
        response.headers["X-Request-ID"] = g.request_id
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if response.mimetype == "text/html":
            response.headers.setdefault("Content-Security-Policy", _NOTHING_ALLOWED)
        _log.info(
            "request",
            method=request.method,
            path=request.path[:_LONGEST_PATH],
            status=response.status_code,
            code=g.get("code"),
            bytes=response.content_length,
            elapsed_s=round(time.monotonic() - g.arrived_s, 3),
        )
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()


def _hear_out() -> None:
    """Read what a refused caller is still sending, within limits.

    Who is in the middle of sending a large body would otherwise get a reset connection instead of
    the answer that says why. gunicorn does the same, but for 64 KiB only.
    """
    if not request.environ.get("wsgi.input_terminated"):
        return  # this server does not say where the body ends, and reading on might never return
    stream, left_bytes, until = request.environ["wsgi.input"], _HEARD_OUT_BYTES, Deadline.after(_HEARD_OUT_S)
    with suppress(Exception):  # the connection is gone, or the body was broken: there is nobody to hear out
        while left_bytes > 0 and not until.expired and (heard := stream.read(_PIECE_BYTES)):
            left_bytes -= len(heard)
