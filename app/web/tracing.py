"""Tracing: each request goes on with its caller's trace, or begins one."""

from __future__ import annotations

from flask import Flask, request

from app import trace
from app.trace import Trace


def follow(app: Flask) -> None:
    """Have each request belong to a trace; to be called after `guard.protect`, which begins its log lines."""

    @app.before_request
    def enter() -> None:
        # Of several `traceparent` headers WSGI makes one, which then is none that can be understood: as it should be.
        trace.enter(Trace.after(request.headers.get("traceparent", ""), request.headers.get("tracestate", "")))

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        trace.leave()
