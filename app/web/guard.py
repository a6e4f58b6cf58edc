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


def protect(app: Flask, *, deadline_s: float) -> None:
    """Give each request an id, a deadline and a largest body, and each answer its id and a log line.

    Args:
        deadline_s: Seconds from a request's arrival to the answer, those included that it waits for a thread.
    """
    # Each route has a bound of its own, see `body`; this is for whatever might read without one.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    @app.before_request
    def arrive() -> None:
        g.arrived_s = _arrived_s()
        g.deadline = Deadline(g.arrived_s + deadline_s)
        asked = request.headers.get("X-Request-ID", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
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


def _arrived_s() -> float:
    """Return when the request was complete, in monotonic time: `app.serving` notes it, other servers do not."""
    connection = request.environ.get("gunicorn.socket")
    arrived_s: float | None = getattr(connection, "arrived_s", None)
    return time.monotonic() if arrived_s is None else arrived_s
