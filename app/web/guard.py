"""Guard: what holds for every request and every answer, whatever the route."""

from __future__ import annotations

import re
import time
import uuid
from typing import Final

import structlog
from flask import Flask, Response, g, request

from app.retry import Deadline
from app.web.body import MAX_BODY_BYTES

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH: Final = 200
"""Characters of a path that are logged."""

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
